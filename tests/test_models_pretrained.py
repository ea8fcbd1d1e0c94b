"""Weights that torchvision publishes: which, where, and what is said without a network."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ptools.errors import PtoolsError, UsageError
from ptools.models import pretrained


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder for files, and a proxy that nobody answers at."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    return tmp_path / "home" / "hub" / "checkpoints"


def test_what_weights_expect_is_known_without_them(cache: Path) -> None:
    found = pretrained.weights("resnet18")
    assert (found.name, found.spec, found.classes) == ("IMAGENET1K_V1", "resnet18", 1000)
    assert (found.crop, found.resize) == (224, 256)
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.std == (0.229, 0.224, 0.225)
    assert found.path == cache / "resnet18-f37072fd.pth"
    assert not cache.exists()


def test_a_name_of_weights(cache: Path) -> None:
    for name in ("IMAGENET1K_V2", "ResNet50_Weights.IMAGENET1K_V2", "DEFAULT"):
        assert pretrained.is_a_name(name)
        assert pretrained.weights("torchvision:resnet50", name).resize == 232
    assert not pretrained.is_a_name("none")
    assert not pretrained.is_a_name("best.pth")
    assert pretrained.weights("vit_b_16", "IMAGENET1K_SWAG_E2E_V1").crop == 384


def test_the_model_is_built_as_the_weights_need_it() -> None:
    """The two families whose builders change the network where they are given weights."""
    assert pretrained.weights("inception_v3").spec == "inception_v3(transform_input=True)"
    assert pretrained.weights("googlenet(aux_logits=True)").spec == (
        "googlenet(transform_input=True, aux_logits=True)"
    )
    from torchvision import models

    folder = Path(models.__file__).parent
    changing = {
        file.stem for file in folder.glob("*.py") if '"transform_input"' in file.read_text()
    }
    assert changing == {"googlenet", "inception"}


@pytest.mark.slow
def test_every_model_of_torchvision_has_weights_that_are_known() -> None:
    from torchvision import models

    for name in models.list_models(module=models):
        found = pretrained.weights(name)
        assert found.url.startswith("https://")
        assert (len(found.mean), len(found.std), found.classes) == (3, 3, 1000)


@pytest.mark.parametrize(
    ("spec", "name", "says"),
    [
        ("resnet18", "IMAGENET1K_V2", "Did you mean 'IMAGENET1K_V1'?"),
        ("cnn", "DEFAULT", "no weights for 'cnn'; give --weights a file, or none"),
        ("net.py:Net", "DEFAULT", "no weights for 'net.py:Net'"),
        ("resnet19", "DEFAULT", "no weights for 'resnet19'"),
    ],
)
def test_weights_that_are_not_there(spec: str, name: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        pretrained.weights(spec, name)
    assert says in str(caught.value)


def test_without_a_network_one_line_says_what_goes_where(cache: Path) -> None:
    with pytest.raises(PtoolsError) as caught:
        pretrained.weights("resnet18").fetch()
    said = str(caught.value)
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth cannot be downloaded" in said
    assert f"put resnet18-f37072fd.pth into {cache}, or" in said
    assert "\n" not in said
    assert list(cache.iterdir()) == []


def test_a_file_that_is_there_is_taken(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "resnet18-f37072fd.pth").write_bytes(b"weights")
    assert pretrained.weights("resnet18").fetch().read_bytes() == b"weights"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder, and the address where its files can be had."""
    monkeypatch.setattr("urllib.request._opener", None)  # it keeps the proxies of its first use
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download_is_whole_and_checked(cache: Path, server: tuple[Path, str]) -> None:
    folder, address = server
    content = b"weights" * 100_000
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(content)
    (folder / "net-00000000.pth").write_bytes(content)
    found = pretrained.weights("resnet18")
    told: list[str] = []
    one = replace(found, url=f"{address}/{name}", path=cache / name)
    assert one.fetch(told.append).read_bytes() == content
    assert told == [f"downloading {address}/{name} to {cache / name}"]
    assert one.fetch(told.append) == cache / name
    assert len(told) == 1
    for wrong, says in (("net-00000000.pth", "invalid hash value"), ("gone-11.pth", "404")):
        other = replace(found, url=f"{address}/{wrong}", path=cache / wrong)
        with pytest.raises(PtoolsError, match=says):
            other.fetch()
    assert [file.name for file in cache.iterdir()] == [name]
