import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert, open_source
from hslm_tf.data.formats.captions import find_captions, is_token_file, read_token_file
from hslm_tf.data.text_lines import check_captions
from tests.data import field_files as field
from tests.data.field_files import CAPTIONS, NAMES, assert_holds, opened
from tests.data.split_files import write_split


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


# From a layout to its header, and to a line of an image's name, a number and a caption.
LAYOUTS = {
    "Flickr8k-CN": ("", "{0}#zhb#{1} {2}"),
    "Flickr30K of Kaggle": ("image_name| comment_number| comment", "{0}| {1}| {2}"),
    "Flickr30K of Kaggle, line 20,001": ("", "{0}| {1}   {2}"),
    "Flickr8k of Kaggle": ("image,caption", "{0},{2}"),
    "CSV with quotation marks": ("image,caption", '{0},"{2}"'),
    "open_clip": ("filepath\ttitle", "{0}\t{2}"),
}


def written(layout, images=range(4), header=True):
    first, line = LAYOUTS[layout]
    rows = [first] * bool(header and first)
    rows += [line.format(NAMES[i], c, text) for i in images for c, text in enumerate(CAPTIONS[i])]
    return rows


@pytest.mark.parametrize("name", ["results.csv", "captions.txt", "own.token"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_other_collections(tmp_path, layout, name):
    header, *rows = written(layout)
    # Captions of an image may stand apart.
    (tmp_path / name).write_text("\n".join([header, *rows[1::2], *rows[::2]]))
    dataset = opened(tmp_path, "all", features=field.write_npz(tmp_path / "features"))
    of_image = {name: set(texts) for name, texts in zip(NAMES, CAPTIONS, strict=True)}
    found = {image_id: set() for image_id in dataset.image_ids}
    for image, text in zip(dataset.caption_to_image, dataset.captions, strict=True):
        found[dataset.image_ids[image]].add(text)
    assert found == of_image
    assert_holds(dataset, [NAMES.index(image_id) for image_id in dataset.image_ids])


def test_quotation_marks_of_csv(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_text('image,caption\na.jpg,"A ""big"" dog , and"\na.jpg,A "dog" too\n')
    assert read_token_file(path) == {"a.jpg": ['A "big" dog , and', 'A "dog" too']}
    for line in ('a.jpg,"A dog",train', 'a.jpg,A "dog", too'):
        path.write_text(f"image,caption\n{line}\n")
        with pytest.raises(DataError, match="captions.txt, line 2: .*, expected NAME.jpg#NUMBER"):
            read_token_file(path)


@pytest.mark.parametrize("text", ["See photo.jpg, and more\nof it\n", "a.jpg\nb.jpg\n", "\n"])
def test_other_text_is_no_token_file(tmp_path, text):
    (tmp_path / "notes.txt").write_text(text)
    assert not is_token_file(tmp_path / "notes.txt")


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("target", ["folder", "data.h5"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_under_the_name_of_captions_are_refused(tmp_path, layout, target, header):
    ids, lines = [NAMES[0]], written(layout, [0], header)
    folder = write_split(tmp_path / "folder", ims=np.ones((1, 1, 3), "f4"), ids=ids, full=False)
    if target == "data.h5":
        convert(folder, tmp_path / target, progress=False)
        with h5py.File(tmp_path / target, "a") as file:
            del file["train/caps"]
            file["train/caps"] = lines
    (folder / "train_caps.txt").write_text("\n".join(lines))
    error = "begins with the name of an image, .* `python -m hslm_tf.convert FILE.token TARGET`"
    with pytest.raises(DataError, match=rf"(train_caps.txt|data.h5:/train/caps), .*{error}"):
        load_dataset(tmp_path / target, "train")
    # What the error says is true.
    (folder / "train_caps.txt").rename(folder / "own.token")
    convert(folder / "own.token", tmp_path / "out", progress=False)
    assert load_dataset(tmp_path / "out", "train").captions == list(CAPTIONS[0])


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
    with pytest.raises(
        DataError, match="train_caps.txt, line 2: .* begins with the name of an image"
    ):
        opened(tmp_path, "train")
    path.write_text(f"A cat .\nMy photo.jpg #0 of it\n{line.split(chr(9))[0]}\nA fish .\n")
    assert opened(tmp_path, "train").num_captions == 4


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sizes.csv", "im0.jpg,640,480\nim1.jpg,640,480\n"),
        ("train_images.txt", "im0.jpg\t0\nim1.jpg\t1\n"),
        ("ExpertAnnotations.txt", "im0.jpg\tim1.jpg#2\t1\t1\t1\n"),
        ("readme.txt", "Features by Jo, jo@lab.edu, 2019.\n"),
    ],
)
def test_other_lists_in_a_folder_are_no_captions(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    assert find_captions(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        "image_name,comment_number,comment\nim0.jpg,0,A photo\n",
        "im0.jpg,train,A photo\nim1.jpg,train,A photo\n",
        "im0.jpg\t0\tA photo\nim1.jpg\t0\tA photo\n",
    ],
)
def test_fields_that_are_no_caption_are_refused(content, tmp_path):
    (tmp_path / "results.token").write_text(content)
    with pytest.raises(DataError, match="results.token, line 1: .*expected NAME.jpg"):
        find_captions(tmp_path / "results.token")


@pytest.mark.parametrize(
    "captions",
    [
        ["Write to jo@lab.edu, please"],
        [f"A sign of www.shop{i}.com, in a street" for i in range(20)],
        ["A dog"] * 20 + ["Player of St.Joe#5 is here"],
        ["Photo.net, at night"],
    ],
)
def test_captions_that_only_look_so(captions, tmp_path):
    check_captions(captions, str)
