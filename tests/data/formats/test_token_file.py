import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert, open_source
from hslm_tf.data.formats.captions import is_token_file, read_token_file
from tests.data import field_files as field
from tests.data.field_files import CAPTIONS, NAMES, assert_holds, opened


def lines(images=range(4), end="\n"):
    return "".join(
        f"{NAMES[i]}#{c}\t{text}{end}" for i in images for c, text in enumerate(CAPTIONS[i])
    )


@pytest.mark.parametrize("name", ["Flickr8k.token.txt", "results_20130124.token"])
def test_captions_and_ids_are_taken(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + lines(end=" \r\n").encode())
    assert is_token_file(path)
    read = read_token_file(path)
    assert read == {name: list(texts) for name, texts in zip(NAMES, CAPTIONS, strict=True)}
    field.write_npz(tmp_path / "features")
    for source in (path, tmp_path):
        assert list(open_source(source).splits) == ["all"]
        dataset = opened(source, "all")
        assert_holds(dataset, range(4))
        assert dataset.image_ids == list(NAMES)
        assert dataset.captions == [text for texts in CAPTIONS for text in texts]


def test_lists_beside_it_are_the_splits(tmp_path):
    (tmp_path / "Flickr8k.token.txt").write_text(lines())
    (tmp_path / "Flickr_8k.trainImages.txt").write_text(f"{NAMES[2]}\n{NAMES[0]}\n")
    (tmp_path / "Flickr_8k.devImages.txt").write_text(NAMES[3])
    (tmp_path / "extra_ids.txt").write_text(NAMES[1])
    field.write_npz(tmp_path / "features")
    assert list(open_source(tmp_path).splits) == ["dev", "extra", "train"]
    assert opened(tmp_path, "train").image_ids == [NAMES[2], NAMES[0]]
    convert(tmp_path, tmp_path / "out", progress=False)
    assert_holds(load_dataset(tmp_path / "out", "train"), [2, 0])
    assert load_dataset(tmp_path / "out", "extra").captions == list(CAPTIONS[1])
    (tmp_path / "extra_ids.txt").write_text("none.jpg")
    with pytest.raises(DataError, match=r"extra_ids.txt, line 1: .*token.txt has no image 'none.j"):
        opened(tmp_path, "extra")


def test_captions_per_image(tmp_path):
    path = tmp_path / "results.token"
    path.write_text(lines())
    field.write_npz(tmp_path / "features")
    assert opened(path, "all", captions_per_image=1).captions == [t[0] for t in CAPTIONS]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg#0\tone\njust a caption\n", "line 2: 'just a caption', expected NAME.jpg#NUMBER"),
        ("a.jpg#0\tone\na.jpg#0\ttwo\n", "line 2: a.jpg#0 stands already on line 1"),
        ("a.jpg#0\tone\na.jpg#1\t \n", "line 2: 'a.jpg#1', expected"),
        ("a.jpg#0\tone\n\na.jpg#1\ttwo\n", "line 2: the line is empty"),
        ("\n\n", "has no captions"),
    ],
)
def test_broken_lines(tmp_path, text, message):
    path = tmp_path / "a.token"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_token_file(path)


@pytest.mark.parametrize(
    "line", ["1000092795.jpg#0\tA dog .", "a b.JPEG#12\tx", "2258277193_586949ec62.jpg.1#0\tx"]
)
def test_names_in_a_captions_file_are_an_error(tmp_path, line):
    field.write_lxmert(tmp_path / "train.tsv")
    path = tmp_path / "train_caps.txt"
    path.write_text(f"A cat .\n{line}\nA bird .\nA fish .\n")
    with pytest.raises(DataError, match="train_caps.txt, line 2: .* begins with the name and numb"):
        opened(tmp_path, "train")
    path.write_text(f"A cat .\nMy photo.jpg #0 of it\n{line.split(chr(9))[0]}\nA fish .\n")
    assert opened(tmp_path, "train").num_captions == 4
