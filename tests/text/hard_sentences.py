"""Sentences that are hard to tokenize, made from fixed lists and a seed."""

import random

_SUBJECTS = "A dog|The boys|Dr. Smith|Mr. and Mrs. O'Neil|U.S. soldiers|Élodie|ΟΔΥΣΣΕΥΣ|Çağla İpek|"
_SUBJECTS += (
    "An 8-year-old|J.R.R. Tolkien's son|The women's team|Søren & Åse|St. Mary's choir|Łukasz"
)
_VERBS = (
    "cannot stop|isn't holding|'s eating|gonna jump over|is gonna catch|'tis said likes|wanna buy|"
)
_VERBS += (
    "won't share|they're selling|gimme a hand with|lemme see|I'd've taken|gotta have|d'ye like|"
)
_VERBS += (
    "hasn't seen|more'n once saw|'twas near|wouldn't've thrown|who'll paint|ain't on|can't reach"
)
_OBJECTS = (
    "a $3.50 frisbee|1,000 balloons|50% of the cake|a 3.5-inch toy|the '90s car|rock 'n' roll|"
)
_OBJECTS += (
    "an 18\" pizza|6' tall poles|www.example.com|http://a.b/c?d=e&f=1#g|e.g. balls, i.e. toys|"
)
_OBJECTS += "a café au lait|naïve art|½ of it|the dogs' bowls|a t-shirt; a hat|3:30 p.m. tea|No. 5|"
_OBJECTS += (
    "user@mail.org|#1 sign|a black/white cat|C++ and C#|rock-'em-sock-'em robots|١٢٣ 日本語 text|"
)
_OBJECTS += (
    "the word `stop`|2 * 3 = 6|the year 1999/2000|a <b>bold</b> sign|R&B music|10,5 km|5 °C ice"
)
_LINKS = (
    " | , | ; | -- | - | – | — |... |…| : | (and) | [sic] | \t|\u00a0|\u2003"
    "| / |,|: |. | ! |?! | & "
)
_QUOTES = "\" \"|' '|“ ”|‘ ’|« »|`` ''|` '|( )|[ ]|{ }|< >|\"( )\"|('  ')|„ “|'' ''"
_ENDS = (
    "||.| .|...|..|!|?|?!|.\"|.'|.)|.”|.’|.»|\".|'.|).|. ) |.. .|:|,|;|…|. \t| . \n|--|.]}|*|.'' "
)


def _split(choices: str) -> list[str]:
    return choices.split("|")


def hard_sentences(count: int, seed: int = 0) -> list[str]:
    """Sentences of the forms that make a tokenizer stumble.

    Args:
        count: how many.
        seed: of the choices.
    """
    rng = random.Random(seed)
    subjects, verbs, objects, links, ends = map(
        _split, (_SUBJECTS, _VERBS, _OBJECTS, _LINKS, _ENDS)
    )
    quotes = [pair.partition(" ")[::2] for pair in _split(_QUOTES)]

    def quoted(text: str) -> str:
        if rng.random() < 0.4:
            opening, closing = rng.choice(quotes)
            return opening + text + closing
        return text

    def clause() -> str:
        parts = (rng.choice(subjects), rng.choice(verbs), rng.choice(objects))
        return quoted(" ".join(quoted(part) for part in parts))

    def sentence() -> str:
        clauses = [clause() for _ in range(rng.choice((1, 1, 2)))]
        text = rng.choice(links).join(clauses) + rng.choice(ends)
        return rng.choice((str, str, str.upper, str.title))(text)

    return [sentence() for _ in range(count)]


def random_strings(count: int, seed: int = 0) -> list[str]:
    """Strings of the characters and words that NLTK's rules mention, in any order.

    Args:
        count: how many.
        seed: of the choices.
    """
    rng = random.Random(seed)
    pieces = [*"    ''''\"\"``..,:;@#$%&*?!()[]{}<>--sdmt\t\n", *"\u00a0«»“”‘’„–—0५aé_ΣИ漢²\u0301"]
    pieces += (
        "n't 's 'll re 've cannot gonna wanna gimme gotta lemme d'ye more'n 'tis 'twas".split()
    )
    return ["".join(rng.choices(pieces, k=rng.randint(1, 14))) for _ in range(count)]
