"""`bursar secrets rotate`, as it is typed, on a gateway that lives on."""

import json
from http.client import HTTPConnection
from typing import Any

from tests.process.gateway import Gateway, MakeGateway, Oracle
from tests.process.test_cli import Done, bursar

CONFIG = "general_settings: {store_model_in_db: true}\n"


def ask(gateway: Gateway, path: str, body: object) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    try:
        connection.request("POST", path, json.dumps(body), {"authorization": f"Bearer {gateway.key}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def rotate(gateway: Gateway) -> Done:
    return bursar("secrets", "rotate", "--data-dir", str(gateway.data))


def served(gateway: Gateway) -> bool:
    status, _ = ask(gateway, "/chat/completions", {"model": "kept", "messages": [{"role": "user", "content": "Hi"}]})
    return status == 200


def test_a_new_key_in_two_steps(make_gateway: MakeGateway, oracle: Oracle) -> None:
    gateway = make_gateway(oracle=oracle, config=CONFIG)
    gateway.start()
    params = {"model": "openai/kept", "api_base": oracle.base_url, "api_key": "sk-canary-of-a-provider"}
    status, made = ask(gateway, "/model/new", {"model_name": "kept", "litellm_params": params})
    assert status == 200, made
    keys = gateway.data / "keys"
    first_key = (keys / "salt_key").read_text()

    began = rotate(gateway)
    assert (began.code, "Restart the gateway" in began.out) == (0, True), began
    assert (keys / "salt_key_old").read_text() == first_key != (keys / "salt_key").read_text()
    assert served(gateway), "which goes on with the old key until then"
    gateway.stop()
    gateway.start()
    assert served(gateway), "with the old key's secrets"

    ended = rotate(gateway)
    assert (ended.code, "1 of 1 rows were sealed anew" in ended.out) == (0, True), ended
    assert not (keys / "salt_key_old").exists()
    assert served(gateway)
    gateway.stop()
    gateway.start()
    assert served(gateway), "with the new key alone"
    gateway.stop()
    texts = [began.out, began.err, ended.out, ended.err, *(program.output for program in gateway.programs)]
    assert not [text for text in texts if "canary" in text or first_key.strip() in text]
