"""All kinds of files by name."""

from tests.fuzz.kinds import DATASETS
from tests.fuzz.other_kinds import OTHERS

KINDS = {kind.name: kind for kind in (*DATASETS, *OTHERS)}
