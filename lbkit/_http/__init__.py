"""One implementation under `lbkit.httpx` and `lbkit.httpx2`: transport, pool, dialling, classification."""
