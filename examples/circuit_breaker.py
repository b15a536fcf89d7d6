"""A circuit breaker alone, without a cluster: around functions of your own, sync and async."""

import asyncio

from lbkit import CircuitBreaker, CircuitOpen

config = CircuitBreaker(failures=3, open_s=0.1, failure_rate=0.5, slow_rate=0.8, slow_s=2.0)


class CardDeclined(Exception):  # noqa: N818 - the bank's answer
    """The bank works, and says no."""


payments = config.guard("payments", success=CardDeclined)
payments.subscribe(lambda change: print(change.before.value, "->", change.after.value, "for:", change.cause))

the_bank_works = True


@payments
async def pay(card: str) -> str:
    await asyncio.sleep(0)
    if not the_bank_works:
        raise ConnectionError("the bank does not answer")
    if card == "empty":
        raise CardDeclined
    return "paid"


async def try_to_pay(card: str) -> str:
    try:
        return await pay(card)
    except CircuitOpen as refused:
        return f"try again in {refused.retry_after_s:.1f} s"
    except (ConnectionError, CardDeclined) as error:
        return type(error).__name__


async def main() -> None:
    global the_bank_works  # noqa: PLW0603
    print([await try_to_pay(card) for card in ("mine", "empty", "empty", "empty", "mine")])
    the_bank_works = False
    print([await try_to_pay("mine") for _ in range(4)])
    the_bank_works = True
    await asyncio.sleep(0.15)
    print([await try_to_pay("mine") for _ in range(2)])


asyncio.run(main())

# Other threads and other code use the same guard: what shares a guard is refused together.
with payments as block:
    status = 503
    if status >= 500:
        block.fail()
print(payments.call(str.upper, "paid"))

payments.force_open()
try:
    payments.call(str.upper, "paid")
except CircuitOpen as refused:
    print(refused)
stats = payments.stats()
print(f"{stats.ok} ok, {stats.failed} failed, {stats.refused} refused, opened {stats.opened} times")
