"""Whatever stands in the file, loading gives a configuration or a ConfigError, and the same one every time."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bursar.config.check import render_check
from bursar.config.keys import REQUEST_PARAMS, SECTIONS
from bursar.config.load import LoadedConfig, load_config
from bursar.domain.errors import ConfigError
from bursar.providers.catalogue import PROVIDERS

NAMES = sorted({name for section in SECTIONS for name in section.keys} | set(REQUEST_PARAMS) | {"id", "group", "*"})

TEXT = st.sampled_from(
    [
        "openai/m",
        "os.environ/SET",
        "os.environ/UNSET",
        "os.environ/",
        "1",
        "1e5",
        "1e999999999",
        "-1",
        "true",
        "*",
        "",
        "20s",
    ]
) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.integers() | st.floats() | TEXT | st.dates()
KEYS = st.sampled_from(NAMES) | TEXT
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=15
)


def section(name: str) -> st.SearchStrategy[object]:
    """A section's own keys with anything in them, or something else altogether."""
    table = next((table for table in SECTIONS if table.name == name), None)
    own = sorted(table.keys) if table else NAMES
    return st.dictionaries(st.sampled_from(own), TREES, max_size=5) | TREES


ENTRIES = st.fixed_dictionaries(
    {"model_name": TEXT, "litellm_params": section("litellm_params")},
    optional={"model_info": section("model_info"), "rpm": SCALARS},
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "model_list": st.lists(ENTRIES | TREES, max_size=3) | TREES,
        "router_settings": section("router_settings"),
        "litellm_settings": section("litellm_settings"),
        "general_settings": section("general_settings"),
        "bursar_settings": section("bursar_settings"),
        "credential_list": st.lists(section("credential_list"), max_size=2) | TREES,
        "environment_variables": TREES,
        "litellm_params": TREES,
        "include": TREES,
    },
)


PLAUSIBLE = st.sampled_from(
    [
        None,
        0,
        1,
        "1",
        True,
        "os.environ/SET",
        "os.environ/UNSET",
        "g",
        [],
        ["g"],
        {},
        {"g": "g"},
        {"g": ["g"]},
        [{"g": ["g"]}],
    ]
)


def plausible(name: str) -> st.SearchStrategy[dict[str, object]]:
    """Few keys with values that some kind takes: many of these load."""
    table = next(table for table in SECTIONS if table.name == name)
    return st.dictionaries(st.sampled_from(sorted(table.keys)) | TEXT, PLAUSIBLE, max_size=2)


PLAUSIBLE_CONFIGS = st.fixed_dictionaries(
    {
        "model_list": st.lists(
            st.fixed_dictionaries(
                {
                    "model_name": st.sampled_from(["g", "g*", "*", "os.environ/SET"]),
                    "litellm_params": plausible("litellm_params").map(lambda params: {**params, "model": "openai/m"}),
                },
                optional={"model_info": plausible("model_info")},
            ),
            min_size=1,
            max_size=2,
        )
    },
    optional={name: plausible(name) for name in ("router_settings", "litellm_settings", "general_settings")},
)


def load(path: Path) -> LoadedConfig | str:
    try:
        return load_config(path, {"SET": "3", "HOME": "/h"}, directory=path.parent)
    except ConfigError as error:
        return str(error)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configs")


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(tree=PLAUSIBLE_CONFIGS | CONFIGS | TREES)
def test_any_tree_is_a_config_or_a_config_error(directory: Path, tree: object) -> None:
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    loaded = load(path)
    assert load(path) == loaded, "the same file says the same thing"
    if isinstance(loaded, str):
        assert str(path) in loaded
    else:
        report = render_check(
            loaded, find_price=lambda _: None, resolve_provider=lambda _: PROVIDERS["openai"], environ=loaded.environ
        )
        assert report.ok
        ids = [deployment.id for deployment in loaded.config.deployments]
        assert len(ids) == len(set(ids))


@settings(max_examples=100)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_config_or_a_config_error(directory: Path, content: bytes) -> None:
    path = directory / "bytes.yaml"
    path.write_bytes(content)
    loaded = load(path)
    assert not isinstance(loaded, str) or str(path) in loaded


@given(text=st.text(max_size=80))
def test_any_dotenv_is_read(directory: Path, text: str) -> None:
    (directory / "env").mkdir(exist_ok=True)
    (directory / "env" / ".env").write_text(text, encoding="utf-8", newline="")
    loaded = load_config(None, {}, directory=directory / "env")
    assert all("\0" not in value and value is not None for value in loaded.exports.values())
