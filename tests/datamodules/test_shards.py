"""Shards hold what the dataset holds, are streamed once an epoch, and say in a sentence what is wrong with them."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, product

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.datasets import create_datamodule
from datamodules.lanes import Lane
from datamodules.seeding import private_generator
from datamodules.shards.addresses import expanded
from datamodules.shards.finding import find_parts
from datamodules.shards.index import Index, Shard, read_index
from datamodules.shards.source import ShardSource
from datamodules.shards.writing import LOCK, new_folder, write_shards
from gcp.errors import DataError
from tests.datamodules import fabricate
from tests.datamodules.test_streams import OneOf, in_process

SMALL = {"batch_size": 4}
FEW = {"image_size": 16, "classes": 2, "train_per_class": 53, "val_per_class": 3, "test_per_class": 4}  # textures
TRAIN = 106  # images of these


def made(name, **options):
    data = create_datamodule(name, **SMALL, **options)
    data.setup()
    return data


def written(folder, name, images=5, **options):
    data = made(name, **options)
    return data, write_shards(data, name, folder, images, seed=0, verify=True)


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    """106 images that are finished, of 16 x 16, to train on, in shards of 25."""
    folder = tmp_path_factory.mktemp("textures") / "shards"
    return written(folder, "textures", images=25, **FEW)[0], folder


@pytest.fixture
def pictures(tmp_path):
    """A folder of 12 images to train and 6 to test on, in shards of 5."""
    fabricate.folder(tmp_path / "folder")
    options = {"root": str(tmp_path / "folder"), "transform": "plain224", "image_size": 32}
    data, _ = written(tmp_path / "shards", "folder", **options)
    return data, tmp_path / "shards"


def everything(data, part):
    """Images and labels of a part in the order they are stored."""
    dataset = getattr(data.splits, part)
    return [dataset[position] for position in range(len(dataset))]


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(images[0], images[1]) and labels[0] == labels[1]
        for images, labels in (zip(*pair, strict=True) for pair in zip(one, other, strict=True))
    )


def assert_same_parts(expected, found, seed=0):
    for part in ("train", "val", "test"):
        dataset = getattr(expected.splits, part)
        order = range(len(dataset))
        if part == "train":
            order = torch.randperm(len(order), generator=private_generator(seed)).tolist()
        assert same([dataset[position] for position in order], everything(found, part)), part
    assert found.class_names == expected.class_names
    assert np.array_equal(found.class_counts, expected.class_counts)
    assert found.preprocessing == expected.preprocessing
    assert found.image_size == expected.image_size
    assert found.varies == expected.varies


def test_textures_are_read_back_to_the_bit(textures):
    data, folder = textures
    assert_same_parts(data, made("webdataset", urls=str(folder)))


@pytest.mark.slow
def test_digits_are_read_back_to_the_bit(tmp_path):
    data, _ = written(tmp_path / "shards", "digits", images=300, image_size=8)
    assert_same_parts(data, made("webdataset", urls=str(tmp_path / "shards")))


def test_files_are_copied_as_they_are(pictures, tmp_path):
    data, folder = pictures
    found = made("webdataset", urls=str(folder), image_size=32)
    assert_same_parts(data, found)
    assert "validated on the test part; 3 training shards; transform plain224" in found.describe()
    files = {path.read_bytes() for path in (tmp_path / "folder").rglob("*.JPEG")}
    contents = set()
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as archive:
            contents |= {archive.extractfile(each).read() for each in archive if not each.name.endswith(".cls")}
    assert contents == files


def test_images_in_memory_are_written_without_loss(tmp_path, monkeypatch):
    fabricate.stand_in(monkeypatch)
    for name, size in (("fashion_mnist", 28), ("cifar10", 32)):
        fabricate.FABRICATED[name](tmp_path / name)
        options = {"root": str(tmp_path / name), "transform": "plain224", "image_size": size}
        data, _ = written(tmp_path / f"{name}-shards", name, **options)
        assert_same_parts(data, made("webdataset", urls=str(tmp_path / f"{name}-shards"), image_size=size))


def test_shards_can_be_made_of_shards(textures, tmp_path):
    data, folder = textures
    again = made("webdataset", urls=str(folder))
    parts = write_shards(again, "webdataset", tmp_path / "again", 100, seed=0, verify=True)
    assert [(part.name, part.shards.images) for part in parts] == [("train", TRAIN), ("val", 6), ("test", 8)]
    found = made("webdataset", urls=str(tmp_path / "again"))
    assert same(everything(data, "test"), everything(found, "test"))
    assert found.preprocessing == data.preprocessing


def test_a_box_is_not_lost(tmp_path, monkeypatch):
    fabricate.stand_in(monkeypatch)
    fabricate.aircraft(tmp_path / "aircraft")
    data = made("aircraft", root=str(tmp_path / "aircraft"), crop_banner=True)
    with pytest.raises(DataError, match=r"dataset=aircraft cuts a box out of each image.*data.crop_banner"):
        write_shards(data, "aircraft", tmp_path / "shards", 10, seed=0, verify=False)
    assert not [path for path in tmp_path.iterdir() if "shards" in path.name]


def test_nothing_is_overwritten_or_left_half_done(pictures, tmp_path):
    data, folder = pictures
    with pytest.raises(DataError, match="is there already; give another folder"):
        write_shards(data, "folder", folder, 5, seed=0, verify=False)
    (tmp_path / "folder/test/plum/plum_1.JPEG").unlink()
    with pytest.raises(DataError, match=r"plum_1.JPEG cannot be read"):
        write_shards(data, "folder", tmp_path / "other", 5, seed=0, verify=False)
    with new_folder(tmp_path / "other") as partial:
        (partial / "train-000000.tar").touch()
        with pytest.raises(DataError, match="another process is writing"), new_folder(tmp_path / "other"):
            pass
        assert (partial / LOCK).exists()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["train-000000.tar"]
    left = tmp_path / ".third.partial"  # as of a process that was killed
    left.mkdir()
    (left / "train-000007.tar").touch()
    with new_folder(tmp_path / "third"):
        pass
    assert not list((tmp_path / "third").iterdir())
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "fourth"):
        raise KeyboardInterrupt  # no Exception, nor are ours
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "other", "shards", "third"]


def test_the_index_is_one_of_wids_and_says_the_rest(textures):
    data, folder = textures
    contents = json.loads((folder / "train.json").read_text())
    assert contents["wids_version"] == 1
    assert contents["shardlist"][0] == {"url": "train-000000.tar", "nsamples": 25}
    assert contents["shardlist"][-1] == {"url": "train-000004.tar", "nsamples": 6}
    assert contents["class_names"] == data.class_names
    assert contents["class_counts"] == [53, 53]
    assert contents["parts"] == {"val": "val.json", "test": "test.json"}


# Shards without an index, and single ones, are the same images; so is each part given by itself.
def test_shards_are_found_in_every_way(pictures):
    data, folder = pictures
    expected = everything(made("webdataset", urls=str(folder), image_size=32), "train")
    indexed, plain = str(folder / "train.json"), {"transform": "plain224", "image_size": 32}
    test = str(folder / "test-{000000..000001}.tar")
    for urls in (
        {"urls": indexed},
        {"urls": str(folder / "train-{000000..000002}.tar"), "test_urls": test},
        {"urls": "::".join(str(folder / f"train-00000{number}.tar") for number in range(3)), "val_urls": test},
        {"urls": f"file://{indexed}"},
    ):
        found = made("webdataset", **urls, **plain)
        assert same(expected, everything(found, "train")), urls
        assert same(everything(data, "test"), everything(found, "test")), urls
        assert found.validates_on_test
    for index in folder.glob("*.json"):
        index.unlink()
    found = made("webdataset", urls=str(folder), **plain)
    assert same(expected, everything(found, "train"))
    assert found.class_names == ["0", "1", "2"]
    assert found.class_counts.tolist() == [4, 4, 4]


class Quiet(SimpleHTTPRequestHandler):
    asked: list

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/half/"):
            content = (self.directory_path / self.path.removeprefix("/half/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        super().do_GET()

    def log_message(self, format, *values):
        pass


@pytest.fixture
def served(pictures, monkeypatch):
    """The folder of shards by HTTP, on this machine: its address, and the paths that are asked for."""
    _, folder = pictures
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = type("Handler", (Quiet,), {"asked": [], "directory_path": folder})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_shards_come_over_http(pictures, served):
    data, folder = pictures
    address, asked = served
    local = made("webdataset", urls=str(folder), image_size=32)
    found = made("webdataset", urls=f"{address}/", image_size=32)
    assert same(everything(local, "train"), everything(found, "train"))
    assert same(everything(data, "test"), everything(found, "test"))
    assert [path for path in asked if path.endswith("tar")] == [
        *(f"/train-00000{number}.tar" for number in range(3)),
        *(f"/test-00000{number}.tar" for number in range(2)),
    ]
    asked.clear()
    found.splits.train[6]  # read past what comes before in its shard, and not to its end
    assert [path for path in asked if path.endswith("tar")] == ["/train-000001.tar"]
    with pytest.raises(DataError, match=r"how many images http.*is not known .* shards.index_only=true"):
        made("webdataset", urls=f"{address}/train-{{000000..000002}}.tar")
    counted = find_parts({"train": f"{address}/train-{{000000..000002}}.tar", "val": None, "test": None}, True)
    assert [shard.images for shard in counted["train"].shards] == [5, 5, 2]
    with pytest.raises(DataError, match=r"the index http.*/test/train.json cannot be read \(curl ended with code 22"):
        made("webdataset", urls=f"{address}/test/")
    half = found.splits.train.source.index
    shards = [type(shard)(shard.url.replace("/train", "/half/train"), shard.images) for shard in half.shards]
    source = ShardSource(type(half)(shards, half.class_names, half.class_counts), 0)
    with pytest.raises(DataError, match=r"the shard http.*/half/train-000000.tar cannot be read \(curl .* broke off"):
        list(source.read(Lane(12, 1, training=False), range(12)))


def test_what_opens_addresses_may_be_missing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match=r"cannot be read \(the program curl, which opens such .* is not installed"):
        made("webdataset", urls="http://127.0.0.1:9/train.json?token=x")


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("pipe:cat train.tar", "commands of the shell are not run"),
        ("-", "which is no file"),
        ("what://host/train.tar", "'what' is no scheme"),
        ("train-{0..9.tar", "cannot be expanded"),
        ("train-${NOWHERE}.tar", "cannot be expanded"),
    ],
)
def test_addresses_that_are_not_followed(pattern, sentence):
    with pytest.raises(DataError, match=sentence):
        expanded(pattern, "data.urls")


def test_an_index_may_not_run_commands_either(textures, tmp_path):
    contents = json.loads((textures[1] / "train.json").read_text())
    contents["shardlist"][0]["url"] = "pipe:touch harmed"
    (tmp_path / "train.json").write_text(json.dumps(contents))
    with pytest.raises(DataError, match="commands of the shell are not run"):
        read_index(str(tmp_path / "train.json"), "data.urls")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"wids_version": 2}, "is no index of shards"),
        ({"shardlist": []}, "its shardlist is empty"),
        ({"shardlist": [{"url": "a.tar"}]}, "it lacks 'nsamples'"),
        ({"shardlist": [{"url": "a.tar", "nsamples": "3"}]}, "nsamples must be an integer, got '3'"),
        ({"class_names": None}, "class_names must be a"),
        ({"class_names": ["a", "b", "c"]}, "has 3 class_names and 2 class_counts"),
        ({"class_counts": [1, 1]}, "counts 2 images by class and 106 by shard"),
        ({"transform": "upside_down"}, "its transform 'upside_down' is none of"),
        ({"finished": {"image_size": 16}}, "what it says of finished images is incomplete"),
    ],
)
def test_an_index_that_does_not_say_what_is_needed(textures, tmp_path, change, sentence):
    contents = {**json.loads((textures[1] / "train.json").read_text()), **change}
    (tmp_path / "train.json").write_text(json.dumps(contents))
    with pytest.raises(DataError, match=sentence):
        read_index(str(tmp_path / "train.json"), "data.urls")


def tar(path, files, cut=0):
    """Write a tar file of names and contents, without its last ``cut`` bytes; gives how many are after the files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        files_end = archive.offset
    content = buffer.getvalue()
    path.write_bytes(content[: len(content) - cut])
    return len(content) - files_end


def jpeg(number=0):
    buffer = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format="JPEG")
    return buffer.getvalue()


GOOD = {f"{number}.{ending}": content for number in range(4) for ending, content in
        (("cls", str(number % 2).encode()), ("jpg", jpeg(number)))}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"2.cls": None}, r"2 in .*train-0.tar has no .cls with its label \(it has .jpg\)"),
        ({"2.cls": b"dog"}, r"the label of 2 in .*train-0.tar is b'dog', no whole number"),
        ({"2.jpg": None}, r"2 in .*train-0.tar has no image \(.cls\)"),
        ({"2.png": b""}, r"2 in .*train-0.tar has several images \(.jpg, .png\)"),
        ({"0.cls": b"5"}, "4 of 6 classes have no training image|3 of 6 classes have no training image"),
    ],
)
def test_samples_that_are_wrong_are_named_when_they_are_counted(tmp_path, change, sentence):
    files = {name: content for name, content in {**GOOD, **change}.items() if content is not None}
    tar(tmp_path / "train-0.tar", dict(sorted(files.items())))
    with pytest.raises(DataError, match=sentence):
        made("webdataset", urls=str(tmp_path / "train-0.tar"), test_urls=str(tmp_path / "train-0.tar"))


def test_shards_that_are_wrong_are_named(tmp_path):
    shard, urls = tmp_path / "train-0.tar", {"urls": str(tmp_path / "train-0.tar")}
    end = tar(shard, GOOD)
    tar(shard, GOOD, cut=end + 512)
    with pytest.raises(DataError, match=r"the shard .*train-0.tar cannot be read \(unexpected end of data\)"):
        made("webdataset", **urls)
    tar(shard, GOOD, cut=end)  # where a file ends
    with pytest.raises(DataError, match=r"the shard .*train-0.tar is cut off"):
        made("webdataset", **urls)
    tar(shard, {})
    with pytest.raises(DataError, match="holds no images; leave it out"):
        made("webdataset", **urls)
    shard.write_bytes(b"no tar file" * 100)
    with pytest.raises(DataError, match=r"the shard .*train-0.tar cannot be read"):
        made("webdataset", **urls)
    shard.unlink()
    with pytest.raises(DataError, match=r"1 of 1 shards of data.urls are not there: .*train-0.tar; mend it"):
        made("webdataset", **urls)
    with pytest.raises(DataError, match=r"shards are given with braces"):
        made("webdataset", urls=str(tmp_path / "train-*.tar"))
    with pytest.raises(DataError, match="no shards to train on"):
        made("webdataset", urls=str(tmp_path))
    with pytest.raises(DataError, match=r"needs its shards: set data.urls"):
        made("webdataset")
    tar(shard, GOOD)
    with pytest.raises(DataError, match=r"no images to test on; set data.test_urls"):
        made("webdataset", **urls)
    with pytest.raises(DataError, match=r"has .*train-0.tar twice"):
        made("webdataset", urls=f"{shard}::{shard}", test_urls=str(shard))
    tar(tmp_path / "0.tar", GOOD)
    with pytest.raises(DataError, match=r"0.tar, whose names do not say of which part"):
        made("webdataset", urls=str(tmp_path))
    tar(tmp_path / "test-0.tar", {"0.cls": b"7", "0.jpg": jpeg()})
    with pytest.raises(DataError, match=r"data.test_urls has other classes"):
        made("webdataset", **urls, test_urls=str(tmp_path / "test-0.tar"))


def test_what_is_damaged_after_it_was_indexed_ends_the_reading(pictures):
    _, folder = pictures
    shard = folder / "train-000001.tar"
    whole = shard.read_bytes()
    with tarfile.open(shard) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}
    names = list(files)
    for change, sentence in (
        ({names[3]: b"nothing"}, r"00000006 in .*train-000001.tar is not an image; copy or write the shard again"),
        ({names[2]: b"3"}, r"00000006 in .*train-000001.tar has the label 3, and the 3 classes have 0 to 2"),
        ({names[2]: None}, r"00000006 in .*train-000001.tar has no .cls"),
        (dict.fromkeys(names[4:]), r"train-000001.tar ends after 2 of the 5 images of its index"),
        ({"99.cls": b"0", "99.jpg": jpeg()}, r"train-000001.tar holds more than the 5 images of its index"),
    ):
        changed = {name: content for name, content in {**files, **change}.items() if content is not None}
        tar(shard, changed)
        with pytest.raises(DataError, match=sentence):
            everything(made("webdataset", urls=str(folder), image_size=32), "train")
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"the shard .*train-000001.tar (cannot be read|ends after)"):
        everything(made("webdataset", urls=str(folder), image_size=32), "train")


def test_options_of_pictures_are_not_ignored_for_finished_images(textures):
    _, folder = textures
    for option, value in (("transform", "plain224"), ("mean", [0.5] * 3), ("image_size", 64), ("protocol", "flip")):
        given = {option: value, **({"std": [1.0] * 3} if option == "mean" else {})}
        with pytest.raises(
            DataError, match=rf"finished images of 16 x 16, which data.{option}=.* cannot be applied to"
        ):
            made("webdataset", urls=str(folder), **given)
    assert made("webdataset", urls=str(folder), image_size=16).image_size == 16


def batches(folder, devices, epoch, **options):
    each = []
    for rank in range(devices):
        data = create_datamodule("webdataset", urls=str(folder), batch_size=6, shuffle_buffer=9, **options)
        data.trainer = OneOf(rank, devices)
        data.setup()
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        each.append(list(positions(loader)))
        assert len(each[-1]) == len(loader)
    return each


def positions(loader):
    """As `in_process`, of the positions in place of the labels."""
    source, dataset = loader.dataset.source, loader.dataset
    found = [type(dataset)(source, dataset.transform, 10, dataset.seed, dataset.buffer) for _ in range(3)]
    for number, batch in enumerate(loader.batch_sampler):
        yield [found[number % 3].sample(turn)[0].position for turn in batch]


def test_two_devices_with_three_processes_stream_every_image_once(textures):
    _, folder = textures
    options = {"num_workers": 3, "seed": 5}
    epochs = [batches(folder, 2, epoch, **options) for epoch in range(2)]
    left_out = []
    for ranks in epochs:
        assert [[len(batch) for batch in each] for each in ranks] == [[6] * 8] * 2
        seen = list(chain(*chain(*ranks)))
        assert len(seen) == len(set(seen)) == 96
        left_out.append(set(range(TRAIN)) - set(seen))
    assert left_out[0] != left_out[1]
    assert epochs[0] != epochs[1]
    assert epochs[1] == batches(folder, 2, 1, **options)


def test_a_run_that_goes_on_opens_no_shard_that_is_done(textures, monkeypatch):
    _, folder = textures
    data = made("webdataset", urls=str(folder), shuffle_buffer=1)
    loader = data.train_dataloader()
    whole = in_process(loader)
    resumed = made("webdataset", urls=str(folder), shuffle_buffer=1).train_dataloader()
    resumed.load_state_dict({"epoch": 0, "batches": 25, **loader.sampler.layout})
    opened = []
    read = ShardSource._read
    monkeypatch.setattr(
        ShardSource, "_read", lambda self, stretch: (opened.append(stretch.shard), read(self, stretch))[1]
    )
    assert [labels.tolist() for _, labels in resumed] == whole[25:]
    assert len(opened) <= 2  # of six stretches


def test_the_library_reads_what_is_written(textures):
    _, folder = textures
    import webdataset

    samples = list(webdataset.WebDataset(str(folder / "train-{000000..000004}.tar"), shardshuffle=False).decode())
    assert len(samples) == TRAIN
    found = made("webdataset", urls=str(folder)).splits.train
    assert [sample["cls"] for sample in samples] == [found[position][1] for position in range(TRAIN)]
    assert all(np.array_equal(sample["npy"], found[position][0]) for position, sample in enumerate(samples))


def test_few_and_unequal_shards_are_divided_all_the_same():
    sizes = [1, 50, 3, 7, 1, 1, 30]
    for chosen in (sizes, [61], [1] * 9):
        shards = [Shard(f"{number}.tar", size) for number, size in enumerate(chosen)]
        source = ShardSource(Index(shards, ["a"], np.array([sum(chosen)])), seed=1)
        for devices, lanes, training in product((1, 2), (1, 3, 5), (True, False)):
            for epoch in range(3):
                whole = Lane(len(source), 4, training, epoch, devices=devices, lanes=lanes)
                found = []
                for rank, number in product(range(devices), range(lanes)):
                    lane = whole._replace(rank=rank, number=number)
                    for shard, places in source.stretches(lane, range(lane.size)):
                        assert places == list(range(places[0], places[-1] + 1))
                        assert places[-1] < chosen[shard]
                        found += [(shard, place) for place in places]
                assert len(found) == len(set(found))
                assert len(found) == (len(source) // devices // 4 * 4 * devices if training else len(source))
