"""Datasets: uploads whole, broken off and bad, and what was found in them."""

from __future__ import annotations

from typing import Any

from service.pb import fine_tuning_pb2 as pb
from tests.recorded import payloads
from tests.recorded.corpus.messages import TUNING, upload
from tests.recorded.player import Player

UPLOAD = f"{TUNING}/UploadDataset"

KINDS = pb.DatasetKind.DESCRIPTOR.values_by_name
PHOTO = b"\x89PNG no picture"
ROWS = [f"the {word} of number {i},{word}" for word in ("sea", "wood") for i in range(6)]


def _texts(number: int) -> bytes:
    """Texts that are no other upload's: what is left of a failed one would be gone on with."""
    return payloads.lines("text,topic", [*ROWS, f"the sea of upload {number},sea"])


DATA: dict[str, tuple[bytes, str, dict[str, Any]]] = {
    "photos": (payloads.photo_folder(), "photos.zip", {"display_name": "Photos"}),
    "topics": (payloads.topics(), "topics.csv", {}),
    "flats": (payloads.flats(), "flats.csv", {"columns": pb.DatasetColumns(target="rent")}),
    "more flats": (payloads.flats(100, seed=9), "flats.csv", {"columns": pb.DatasetColumns(target="rent")}),
    "kinds": (
        payloads.iris(),
        "kinds.csv",
        {"task": "tabular-classification", "columns": pb.DatasetColumns(target="kind")},
    ),
    "a target that cannot be told": (payloads.lines("a,b,c", ["1,2,3", "2,3,4", "3,4,5"] * 9), "abc.csv", {}),
    "sales": (payloads.sales(), "sales.csv", {}),
    "poem": (payloads.poems(), "poems.zip", {"kind": pb.DATASET_KIND_PLAIN_TEXT}),
    "one text": (b"".join(payloads.topics().splitlines(True)[1:]), "one.txt", {"kind": pb.DATASET_KIND_PLAIN_TEXT}),
    "sounds": (payloads.sound_folder(), "sounds.zip", {}),
    "houses": (payloads.houses(), "houses.zip", {"columns": pb.DatasetColumns(target="price")}),
    "rows that are left out": (
        payloads.lines(
            "size,rent",
            [*(f"{i},{3 * i + i % 5}" for i in range(40)), "7,nan", "8,inf", "9", "1,2,3", "x,5", *["2,6"] * 3],
        ),
        "odd.csv",
        {"columns": pb.DatasetColumns(target="rent")},
    ),
    "files that are left out": (
        payloads.zipped(
            {f"{name}/{i}.png": payloads.photo(i + 40 * (name == "b")) for name in "ab" for i in range(4)}
            | {
                "a/bad.jpg": b"0123456789",
                "a/notes.txt": b"hello",
                "readme.md": b"hello",
                "a/0again.png": payloads.photo(0),
            }
        ),
        "odd.zip",
        {},
    ),
    "one class only": (payloads.lines("text,topic", ROWS[:6]), "one.csv", {}),
    "a class of one": (payloads.lines("text,topic", [*ROWS, "alone,lake"]), "texts.csv", {}),
    "a column that is missing": (
        payloads.lines("text,topic", ROWS),
        "texts.csv",
        {"columns": pb.DatasetColumns(text="text", target="label")},
    ),
    "no picture that can be read": (
        payloads.zipped({f"{label}/{i}.jpg": b"0123456789" for label in ("cat", "dog") for i in range(3)}),
        "photos.zip",
        {},
    ),
    "an archive that leads out": (payloads.zipped({"../outside/1.png": PHOTO, "cat/1.png": PHOTO}), "photos.zip", {}),
    "an archive of too many files": (payloads.zipped({f"a/{i}.png": b"x" for i in range(300)}), "many.zip", {}),
    "a zip cut off": (payloads.zipped({"cat/1.png": PHOTO * 500})[:-30], "photos.zip", {}),
    "a workbook called CSV": (payloads.zipped({"xl/workbook.xml": b"<workbook/>"}), "prices.csv", {}),
    "an unknown ending": (b"x" * 10, "photos.rar", {}),
    "no ending": (b"x" * 10, "photos", {}),
    "no name": (b"x" * 10, "", {}),
    "an empty file": (b"", "empty.csv", {}),
    "a header alone": (b"text,topic\n", "header.csv", {}),
    "text that is no UTF-8": (b"text,topic\n" + b"\xff\xfe\xfd,a\n" * 9, "bytes.csv", {}),
    "an unknown task": (_texts(1), "texts.csv", {"task": "cooking"}),
    "a kind that does not fit": (_texts(2), "t.csv", {"kind": pb.DATASET_KIND_IMAGE_FOLDER}),
    "a kind that is none": (_texts(3), "t.csv", {"kind": 99}),
    "an endless display name": (_texts(4), "t.csv", {"display_name": "n" * 200}),
    "no digest": (b"x" * 10, "t.csv", {"sha256": ""}),
    "a digest that is none": (b"x" * 10, "t.csv", {"sha256": "xyz"}),
    "another digest": (_texts(5), "t.csv", {"sha256": "0" * 64}),
    "fewer bytes than said": (_texts(6), "t.csv", {"size_bytes": 10_000}),
    "more bytes than said": (_texts(7), "t.csv", {"size_bytes": 10}),
    "a negative size": (b"x" * 10, "t.csv", {"size_bytes": -1}),
    "larger than may be": (b"x" * 10, "t.csv", {"size_bytes": 10**9}),
    "a negative offset": (b"x" * 10, "t.csv", {"offset": -1}),
    "an offset from nowhere": (b"x" * 10, "t.csv", {"offset": 5}),
    "a URI outside of what is allowed": (b"", "", {"uri": "file:///etc/passwd", "sha256": "", "size_bytes": 0}),
    "a URI that is none": (b"", "", {"uri": "nonsense", "sha256": "", "size_bytes": 0}),
}


def play(player: Player) -> None:
    with player.group("uploads"):
        for name, (data, file_name, header) in DATA.items():
            player.upload(name, UPLOAD, upload(data, file_name, **header))
        player.upload("once more", UPLOAD, upload(DATA["flats"][0], "flats.csv", **DATA["flats"][2]))
        owned = (("zoo-owner", "ann"),)
        text = payloads.topics(9)
        player.upload("by an owner", UPLOAD, upload(text, "ann.csv"), metadata=owned)
        player.upload("by nobody", UPLOAD, upload(text + b"\n", "x.csv"), metadata=(("zoo-owner", "-/-"),))
        player.upload("no message", UPLOAD, [])
        player.upload("no header", UPLOAD, [pb.UploadDatasetRequest(chunk=b"x")])
        header = next(upload(text, "t.csv"))
        player.upload("two headers", UPLOAD, [header, header])
        player.upload("an empty message", UPLOAD, [pb.UploadDatasetRequest()])
        player.upload("a large chunk", UPLOAD, upload(b"x" * (5 * 2**20), "large.csv", chunk=5 * 2**20))
    with player.group("uploads that are broken off"):
        data = payloads.lines("text,topic", [f"the {w} of {i},{w}" for w in ("moon", "sun") for i in range(500)])
        sha256 = next(upload(data, "sky.csv")).header.sha256
        half = len(data) // 2
        player.upload("half", UPLOAD, upload(data, "sky.csv", upto=half))
        for name, digest in {"half": sha256, "unknown": "1" * 64, "none": "", "no digest": "xyz"}.items():
            player.call(f"how far: {name}", f"{TUNING}/GetUpload", pb.GetUploadRequest(sha256=digest))
        player.upload("at another place", UPLOAD, upload(data, "sky.csv", offset=half - 1))
        player.upload("the other half", UPLOAD, upload(data, "sky.csv", offset=half))
        player.call("how far in the end", f"{TUNING}/GetUpload", pb.GetUploadRequest(sha256=sha256))
    with player.group("datasets"):
        every = pb.ListDatasetsRequest(page_size=500)
        player.call("all", f"{TUNING}/ListDatasets", every)
        player.call("of a kind", f"{TUNING}/ListDatasets", pb.ListDatasetsRequest(kind=pb.DATASET_KIND_TABLE))
        player.call("of no kind", f"{TUNING}/ListDatasets", pb.ListDatasetsRequest(kind=99))
        page = player.call("a page", f"{TUNING}/ListDatasets", pb.ListDatasetsRequest(page_size=3))
        following = pb.ListDatasetsRequest(page_size=3, page_token=page.next_page_token)
        player.call("the next page", f"{TUNING}/ListDatasets", following)
        player.call("a bad token", f"{TUNING}/ListDatasets", pb.ListDatasetsRequest(page_token="nonsense"))
        player.call("a negative page", f"{TUNING}/ListDatasets", pb.ListDatasetsRequest(page_size=-1))
        ids = [dataset.id for dataset in player.ask(f"{TUNING}/ListDatasets", every).datasets]
        for dataset in (*ids, "0" * 32, "nobody", ""):
            player.call(f"one {dataset}", f"{TUNING}/GetDataset", pb.GetDatasetRequest(id=dataset))
        for dataset in ("0" * 32, "nobody", "../x", ""):
            player.call(f"delete {dataset}", f"{TUNING}/DeleteDataset", pb.DeleteDatasetRequest(id=dataset))


def dataset_id(player: Player, name: str) -> str:
    """The id of one of DATA; asks by uploading it once more."""
    data, file_name, header = DATA[name]
    messages = (message.SerializeToString() for message in upload(data, file_name, **header))
    stub = player.channel.stream_unary(f"/{UPLOAD}", None, pb.UploadDatasetResponse.FromString)
    found: str = stub(messages).dataset.id
    return found
