"""Books what an app spends through LiteLLM's SDK: `DATABASE_URL=postgresql://… python examples/sdk_litellm.py`.

It runs without a provider. Leave `mock_response` out, and set OPENAI_API_KEY, to call one.
"""

import litellm

import bursar.sdk

litellm.callbacks = ["bursar"]

for user in ("alice", "bob"):
    answer = litellm.completion(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Say hello."}],
        user=user,
        metadata={"team_id": "examples", "tags": ["hello"]},
        mock_response="Hello!",
    )
    print(user, answer.choices[0].message.content)

print("in the database:", bursar.sdk.flush(10), bursar.sdk.health())
