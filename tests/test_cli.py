from __future__ import annotations

import errno
import inspect
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hundredfold import cli
from hundredfold.cli import VERBS, load_verb, main
from hundredfold.config import CurveSettings, RunSettings, ScanSettings, Verb, verb
from hundredfold.errors import InputError, TrainingError

HEAVY = {"torch", "timm", "pandas", "sklearn", "matplotlib", "cv2", "pyarrow", "numpy", "pydantic"}
SLOW_TO_IMPORT = HEAVY - {"pydantic"}


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings that reached the workflow of a verb; the workflows themselves are replaced."""
    got: list[Any] = []

    def load(name: str) -> Verb[Any, Any]:
        return Verb({"scan": ScanSettings, "run": RunSettings, "curve": CurveSettings}[name], keep)

    def keep(settings: Any) -> None:
        """Keep what was given."""
        got.append(settings)

    def keeping(name: str) -> Verb[Any, Any]:
        found = load(name)
        vars(found)["__name__"] = name
        return found

    monkeypatch.setattr(cli, "load_verb", keeping)
    return got


def loaded_by(*calls: list[str]) -> set[str]:
    """The packages in ``sys.modules`` after some calls of the command line."""
    code = f"import sys; from hundredfold.cli import main; [main(c) for c in {calls!r}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_help_imports_nothing_heavy() -> None:
    assert not loaded_by(["--help"]) & HEAVY


def test_help_of_a_verb_imports_nothing_heavy() -> None:
    assert not loaded_by(*([name, "--help"] for name in VERBS)) & SLOW_TO_IMPORT


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in VERBS if f"│ {name} " not in shown] == []


def test_no_verb_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Commands" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


@pytest.mark.parametrize("name", VERBS)
def test_the_sentence_in_the_help_is_the_workflows_own(name: str) -> None:
    first = inspect.cleandoc(load_verb(name).__doc__ or "").splitlines()[0]
    assert first.replace("``", "") == VERBS[name]


@pytest.mark.parametrize("name", VERBS)
def test_every_setting_is_an_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    fields = load_verb(name).settings.model_fields
    missing = [field for field in fields if f"--{field.replace('_', '-')}" not in shown]
    assert not missing
    assert "--config" in shown


def test_options_become_settings(received: list[Any]) -> None:
    assert main(["run", "i", "--labels", "l.csv", "--out", "o", "--max-bad", "0.5", "--transductive"]) == 0
    (settings,) = received
    assert settings == RunSettings.of(images="i", labels="l.csv", out="o", max_bad=0.5, transductive=True)


def test_lists_are_given_with_commas(received: list[Any]) -> None:
    given = ["--budgets", "1,5, 10", "--classifiers", "knn", "--global-scale=.3,.9"]
    assert main(["run", "i", "--labels", "l", "--out", "o", *given]) == 0
    (settings,) = received
    assert (settings.budgets, settings.classifiers) == ((1, 5, 10), ("knn",))
    assert settings.global_scale == (0.3, 0.9)


def test_a_preset_is_not_hidden_by_the_defaults_of_the_options(received: list[Any]) -> None:
    assert main(["run", "i", "--labels", "l", "--out", "o", "--preset", "paper", "--prototypes", "512"]) == 0
    assert (received[0].image_size, received[0].prototypes) == (256, 512)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rnu", "x"], 'Unknown command "rnu". Did you mean "run"?'),
        (["run", "x", "--labels", "l", "--out", "o", "--budgts", "1"], "--budgts. Did you mean --budgets?"),
        (["run", "x", "--out", "o"], "--labels is missing. See `hundredfold run --help`."),
        (["run", "x", "--outt", "o"], "--out is missing. Did you mean --out instead of --outt?"),
        (["run", "x", "y", "--labels", "l", "--out", "o"], "more was given than the verb takes: y."),
        (["run", "x", "--labels", "l", "--out", "o", "--max-bad", "few"], '"few" into float'),
        (["run", "x", "--labels", "l", "--out", "o", "--max-bad", "7"], "less than or equal to 1; found 7"),
        (["run", "x", "--labels", "l", "--out", "o", "--epochs", "nan"], "finite number; found nan (epochs)"),
        (["run", "x", "--labels", "l", "--out", "o", "--budgets", "1,a"], "found 'a' (budgets.1)"),
        (["run", "x", "--labels", "l", "--out", "o", "--preset", "papre"], 'Choose from: "default", "paper"'),
        (["run", "--config", "nowhere.yaml"], "no such file (nowhere.yaml)."),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], sentence: str, received: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("hundredfold: ")
    assert sentence in shown.err
    assert not received


class TestConfigFile:
    def write(self, path: Path, content: object) -> str:
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return str(path)

    def test_gives_settings_and_options_win(self, tmp_path: Path, received: list[Any]) -> None:
        flat = {"images": "i", "labels": "l", "out": "o", "budgets": [1, 2], "max-bad": 0.5, "resume": True}
        file = self.write(tmp_path / "c.yaml", flat)
        assert main(["run", "--config", file, "--out", "other", "--no-resume"]) == 0
        (settings,) = received
        assert (settings.images, settings.out) == (Path("i"), Path("other"))
        assert (settings.budgets, settings.max_bad, settings.resume) == ((1, 2), 0.5, False)

    def test_fit_is_a_setting_and_a_verb(self, tmp_path: Path, received: list[Any]) -> None:
        file = self.write(tmp_path / "c.yaml", {"images": "i", "labels": "l", "out": "o", "fit": "crop"})
        assert main(["run", f"--config={file}"]) == 0
        assert received[0].fit == "crop"

    def test_of_a_run_gives_the_verb_its_own_section(self, tmp_path: Path, received: list[Any]) -> None:
        scan = ScanSettings.of(images="i", out="o", max_bad=0.25, resume=True)
        curve = CurveSettings.of(embeddings="o", labels="l", out="o", repeats=2)
        sections = {"scan": scan.model_dump(mode="json"), "curve": curve.model_dump(mode="json")}
        file = self.write(tmp_path / "config.yaml", sections)
        assert main(["scan", "--config", file]) == 0
        assert received[0] == ScanSettings.of(images="i", out="o", max_bad=0.25), "resume is not carried on"

    def test_of_a_run_gives_run_all_sections(self, tmp_path: Path, received: list[Any]) -> None:
        scan = ScanSettings.of(images="i", labels="l", out="o", max_bad=0.25)
        curve = CurveSettings.of(embeddings="o", labels="l", out="o", repeats=2)
        sections = {"scan": scan.model_dump(mode="json"), "curve": curve.model_dump(mode="json")}
        file = self.write(tmp_path / "config.yaml", sections)
        assert main(["run", "--config", file, "--out", "again"]) == 0
        (settings,) = received
        assert (settings.images, settings.max_bad, settings.repeats) == (Path("i"), 0.25, 2)
        assert settings.modality == "microscopy"  # which the curve leaves open
        assert settings.out == Path("again")

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("images: [", "expected YAML"),
            ("- a\n- b", "expected names and values, found list"),
            ("", "expected names and values, found NoneType"),
            ("images: i\nlabels: l\nout: o\nbugdets: 1", "no such setting (bugdets)"),
            ("images: i\nout: o", "a setting is missing (labels)"),
        ],
    )
    def test_that_is_wrong_is_exit_code_2(
        self, text: str, sentence: str, tmp_path: Path, received: list[Any],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (tmp_path / "c.yaml").write_text(text)
        assert main(["run", "--config", str(tmp_path / "c.yaml")]) == 2
        assert sentence in capsys.readouterr().err


def failing(error: BaseException) -> Callable[[str], Verb[Any, Any]]:
    @verb(ScanSettings)
    def scan(settings: ScanSettings) -> None:
        """Fail."""
        raise error

    return lambda name: scan


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (InputError("no such folder", where="imagse", remedy="Look."), 2, "no such folder (imagse). Look."),
        (TrainingError("the loss is not finite"), 1, "hundredfold: the loss is not finite."),
        (KeyboardInterrupt(), 130, "Interrupted. Continue with the same command and --resume."),
        (OSError(errno.ENOSPC, "No space left", "run.json"), 2, "No space left (run.json)."),
        (KeyError("x"), 1, "a fault of ours: KeyError('x'). Please report it"),
        (FileNotFoundError(errno.ENOENT, "No such file", "y"), 1, "a fault of ours: FileNotFoundError"),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, sentence: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "load_verb", failing(error))
    assert main(["scan", "images", "--out", "o"]) == code
    shown = capsys.readouterr().err
    assert sentence in shown.splitlines()[-1]
    assert ("Traceback" in shown) == ("fault of ours" in sentence)


def test_the_installed_command_passes_its_exit_code_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hundredfold", "scan", str(tmp_path / "imagse")]
    command += ["--out", str(tmp_path / "o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("hundredfold: ")
    assert not (tmp_path / "o").exists(), "nothing is written"


def test_our_warnings_are_sentences_without_the_line_of_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a collapse a user must read what to do, not where in our source it was found."""
    told: list[str] = []

    def warn(_settings: Any) -> None:
        """Format a warning of ours and one of another package."""
        places = (Path(cli.__file__).parent / "ssl" / "trainer.py", "torch/nn.py")
        told.extend(warnings.formatwarning("step 150: collapse", UserWarning, str(p), 7) for p in places)

    usual = warnings.formatwarning
    monkeypatch.setattr(cli, "load_verb", lambda _: Verb(ScanSettings, warn))
    assert main(["scan", str(tmp_path), "--out", str(tmp_path / "run")]) == 0
    assert told[0] == "Warning: step 150: collapse.\n"
    assert told[1].startswith("torch/nn.py:7: UserWarning: step 150: collapse")
    assert warnings.formatwarning is usual
