import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, PositiveFloat

from ssl_sbir.config import (
    Config,
    flatten_settings,
    hash_named_files,
    parse_assignments,
    read_yaml,
    resolve_config,
    to_yaml,
)
from ssl_sbir.errors import ConfigError


class Optim(Config):
    lr: PositiveFloat = Field(1e-3, description="rate")
    name: str = "adam"


class Settings(Config):
    seed: int = 0
    optim: Optim = Optim(lr=0.5)


def test_later_layers_win_and_origins_are_told():
    config, origins = resolve_config(
        Settings, [("file", {"optim": {"lr": 0.1}, "seed": 3}), ("--set", {"seed": 4})]
    )
    assert (config.seed, config.optim.lr, config.optim.name) == (4, 0.1, "adam")
    assert origins == {"seed": "--set", "optim.lr": "file", "optim.name": "default"}


def test_a_subclass_default_of_a_group_survives_a_partial_setting():
    config, _ = resolve_config(Settings, [("--set", {"optim": {"name": "sgd"}})])
    assert config.optim == Optim(lr=0.5, name="sgd")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"optim": {"lrr": 1}}, "unknown key 'optim.lrr'. Did you mean 'optim.lr'?"),
        ({"lr": 1}, "unknown key 'lr'. Did you mean 'optim.lr'?"),
        ({"optim": {"lr": -1}}, "optim.lr = -1: Input should be greater than 0"),
        ({"seed": "many"}, "seed = 'many': Input should be a valid integer"),
        ({"optim": 3}, "optim = 3"),
    ],
)
def test_wrong_keys_and_values_are_named(settings, says):
    with pytest.raises(ConfigError) as caught:
        resolve_config(Settings, [("--set", settings)])
    assert says in caught.value.message


def test_files_that_settings_name_are_told_by_what_they_hold(tmp_path):
    for name, text in (("a.tsv", "a"), ("b.tsv", "b")):
        (tmp_path / name).write_text(text)

    def of(value):
        return hash_named_files({"deep": {"semantics": value, "code": 3, "other": "glove"}})

    first = of(f"conceptnet:{tmp_path / 'a.tsv'}")
    assert set(first) == {"deep.semantics"}
    assert of(f"shuffled:0:conceptnet:{tmp_path / 'a.tsv'}") == first
    assert of(f"conceptnet:{tmp_path / 'b.tsv'}") != first
    both = of(f"vectors:{tmp_path / 'a.tsv'}+{tmp_path / 'b.tsv'}")
    (tmp_path / "b.tsv").write_text("changed")
    assert of(f"vectors:{tmp_path / 'a.tsv'}+{tmp_path / 'b.tsv'}") != both
    assert of("conceptnet:absent.tsv") == of("a:b") == {}


def test_assignments_nest_and_keep_types():
    assert parse_assignments(["a.b=1", "a.c=x", "a.b=2.5", "d=true"]) == {
        "a": {"b": 2.5, "c": "x"},
        "d": True,
    }


@pytest.mark.parametrize("text", ["noequals", ".=1", "a.=1", "a=[1"])
def test_a_text_that_is_no_assignment_is_refused(text):
    with pytest.raises(ConfigError, match="--set"):
        parse_assignments([text])


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [1\n", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content):
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        read_yaml(tmp_path / "c.yaml")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(tmp_path / "absent.yaml")


@given(st.integers(), st.floats(1e-9, 1e9), st.text())
def test_yaml_says_exactly_what_the_settings_are(seed, lr, name):
    config = Settings(seed=seed, optim=Optim(lr=lr, name=name))
    origins = dict.fromkeys((key for key, _ in flatten_settings(config.model_dump())), "a test")
    assert yaml.safe_load(to_yaml(config, origins)) == config.model_dump()
