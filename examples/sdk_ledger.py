"""Books what an app spends through any client: `DATABASE_URL=postgresql://… python examples/sdk_ledger.py`."""

from bursar.sdk import Ledger

ledger = Ledger()
for user in ("alice", "bob"):
    with ledger.call(provider="openai", model="gpt-4o", user=user, team="examples", tags=["hello"]) as call:
        # Here your client calls the provider, and this is what it reports.
        call.usage({"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42})

print("in the database:", ledger.flush(10), ledger.health())
