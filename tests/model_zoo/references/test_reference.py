"""References are read strictly, and say what was expected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from model_zoo.errors import InvalidReference
from model_zoo.references.reference import Reference, is_reference, parse_reference, shown_reference, with_digest


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("hf:org/name", Reference("hf", "org/name")),
        ("hf:gpt2", Reference("hf", "gpt2")),
        ("hf:Org-1/Na.me_2@main", Reference("hf", "Org-1/Na.me_2", "main")),
        ("hf:org/name@refs/pr/3", Reference("hf", "org/name", "refs/pr/3")),
        (
            "hf:org/name@0123456789abcdef0123456789abcdef01234567",
            Reference("hf", "org/name", "0123456789abcdef" * 2 + "01234567"),
        ),
        ("timm:resnet50.a1_in1k", Reference("timm", "resnet50.a1_in1k")),
        ("timm:resnet50.a1_in1k@v1", Reference("timm", "resnet50.a1_in1k", "v1")),
    ],
)
def test_reference_to_a_hub_is_read(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert str(reference) == text


def test_local_reference_has_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_reference("local:some/folder") == Reference("local", str(tmp_path / "some" / "folder"))
    assert parse_reference(f"local:{tmp_path}").place == str(tmp_path)


def test_onnx_reference_names_a_file_or_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    local = parse_reference("onnx:some/Net-1.onnx")
    assert local == Reference("onnx", str(tmp_path / "some" / "Net-1.onnx"))
    assert (local.shown, local.model_name) == ("onnx:Net-1.onnx", "net_1")
    hub = parse_reference("onnx:hf:org/Name@main")
    assert hub == Reference("onnx", "hf:org/Name", "main")
    assert (str(hub), hub.shown, hub.model_name) == ("onnx:hf:org/Name@main", "onnx:hf:org/Name@main", "name")


@pytest.mark.parametrize(
    "text",
    [
        "onnx:",
        "onnx:hf:",
        "onnx:hf:../etc",
        "hf:",
        "local:",
        ":org/name",
        "http://hub.example/org/name",
        "HF:org/name",
        "hf:/name",
        "hf:org/",
        "hf:org/name/more",
        "hf:org/name@",
        "hf:org/name@a b",
        "hf:org/name@../x",
        "hf:../etc",
        "hf:org/..",
        "hf:org/na me",
        "hf:org/name\n",
        "hf:" + "a" * 200,
        "ftp:org/name",
        "timm:",
        "timm:org/name",
        "timm:..",
        "timm:a b",
        "timm:name@",
    ],
)
def test_malformed_reference_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(InvalidReference) as raised:
        parse_reference(text)
    assert len(str(raised.value)) < 400
    assert "expected" in str(raised.value) or "nothing follows" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf:sentence-transformers/all-MiniLM-L6-v2", "all_minilm_l6_v2"),
        ("hf:timm/resnet50.a1_in1k@main", "resnet50_a1_in1k"),
        ("timm:resnet50.a1_in1k", "resnet50_a1_in1k"),
        ("local:/data/My Model (2)", "my_model_2"),
        ("hf:org/" + "n" * 90, "n" * 63),
    ],
)
def test_model_has_the_name_of_its_repository(text: str, name: str) -> None:
    assert parse_reference(text).model_name == name


def test_name_of_a_model_is_no_reference() -> None:
    assert not is_reference("efficientnet_lite0")
    assert is_reference("hf:org/name")


def test_name_of_timm_is_a_repository_of_its_hub() -> None:
    reference = parse_reference("timm:resnet50.a1_in1k@main")
    assert reference.repository == "timm/resnet50.a1_in1k"
    assert parse_reference("hf:org/name").repository == "org/name"
    assert reference.is_same_as("hf:timm/resnet50.a1_in1k@main")
    assert parse_reference("hf:timm/resnet50.a1_in1k@main").is_same_as(str(reference))
    assert not reference.is_same_as("hf:timm/resnet50.a1_in1k")
    assert not reference.is_same_as("")


DIGEST = "0123456789abcdef" * 4


def test_onnx_reference_names_a_file_of_the_web_with_its_digest() -> None:
    text = f"onnx:https://models.example/a/Net-1.onnx#sha256={DIGEST}"
    found = parse_reference(text)
    assert found == Reference("onnx", "https://models.example/a/Net-1.onnx", sha256=DIGEST)
    assert (str(found), found.model_name) == (text, "net_1")
    assert found.shown == "onnx:https://models.example/a/Net-1.onnx"
    assert (found.is_of_web, found.is_on_hub) == (True, False)
    assert parse_reference(text.replace(DIGEST, DIGEST.upper())) == found
    bucket = parse_reference(f"onnx:s3://models/a/Net-1.onnx#sha256={DIGEST}")
    assert (bucket.place, bucket.is_of_web, bucket.is_on_hub) == ("s3://models/a/Net-1.onnx", True, False)
    assert with_digest("onnx:https://models.example/a/Net-1.onnx", DIGEST.upper()) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("onnx:https://models.example/a.onnx", "needs the sha256 of its file"),
        ("onnx:https://models.example/a.onnx#", "needs the sha256 of its file"),
        (f"onnx:https://models.example/a.onnx#{DIGEST}", "needs the sha256 of its file"),
        (f"onnx:https://models.example/a.onnx#sha256={DIGEST[1:]}", "needs the sha256 of its file"),
        (f"onnx:https://models.example/a.onnx#sha256={DIGEST}0", "needs the sha256 of its file"),
        (f"onnx:http://models.example/a.onnx#sha256={DIGEST}", "plain http is for this machine"),
        (f"onnx:https://ann:hunter2@models.example/a.onnx#sha256={DIGEST}", "user name or a password"),
        (f"onnx:HTTPS://ann:hunter2@models.example/a.onnx#sha256={DIGEST}", "user name or a password"),
        ("onnx:s3://models/a.onnx", "needs the sha256 of its file"),
        (f"onnx:s3://models/a.onnx?key=hunter2#sha256={DIGEST}", "query"),
        (f"onnx:https://models.example/a.onnx?key=hunter2#sha256={DIGEST}", "query"),
        ("https://ann:hunter2@models.example/a.onnx", "expected hf:ORG/NAME"),
    ],
)
def test_address_without_a_digest_or_with_a_secret_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidReference, match=words) as raised:
        parse_reference(text)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("text", ["hf:org/name", "onnx:file.onnx", f"onnx:https://a.example/x#sha256={DIGEST}"])
def test_digest_is_for_an_address_alone(text: str) -> None:
    with pytest.raises(InvalidReference):
        with_digest(text, DIGEST)


def test_reference_names_weights_of_torchvision() -> None:
    found = parse_reference("torchvision:ResNet50_Weights.IMAGENET1K_V2")
    assert found == Reference("torchvision", "ResNet50_Weights.IMAGENET1K_V2")
    assert (str(found), found.shown) == ("torchvision:ResNet50_Weights.IMAGENET1K_V2",) * 2
    assert (found.model_name, found.is_on_hub) == ("resnet50_weights_imagenet1k_v2", False)


@pytest.mark.parametrize(
    "text", ["resnet50", "ResNet50_Weights", "ResNet50_Weights.", "../x_Weights.V1", "X_Weights.V1 "]
)
def test_other_names_are_no_weights_of_torchvision(text: str) -> None:
    with pytest.raises(InvalidReference, match="expected the name of weights, such as torchvision:ResNet50_Weights"):
        parse_reference(f"torchvision:{text}")


@pytest.mark.parametrize("read", [parse_reference, lambda text: with_digest(text, DIGEST)])
@pytest.mark.parametrize(
    "kind", ["", "hf:", "timm:", "torchvision:", "onnx:hf:", "onxx:", "ftp:", "HF:", "ann:hunter2@"]
)
@pytest.mark.parametrize("scheme", ["https", "HTTPS", "ftp", "postgresql", "hunter2"])
def test_address_in_a_reference_of_another_kind_is_not_repeated(
    read: Callable[[str], object], kind: str, scheme: str
) -> None:
    with pytest.raises(InvalidReference) as raised:
        read(f"{kind}{scheme}://ann:hunter2@models.example/a?key=hunter2")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("onnx:/srv/secret/model.onnx", "onnx:model.onnx"),
        ("local:/srv/secret/tiny", "local:tiny"),
        ("hf:org/name@main", "hf:org/name@main"),
        (f"onnx:https://models.example/a.onnx#sha256={DIGEST}", "onnx:https://models.example/a.onnx"),
        ("/srv/secret/edited by hand", "another reference"),
    ],
)
def test_reference_of_a_card_is_shown_without_a_path(text: str, shown: str) -> None:
    assert shown_reference(text) == shown
