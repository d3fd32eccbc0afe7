"""Names of a generated catalogue: artists, titles and genres that read like names."""

import numpy as np
import numpy.typing as npt


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ONSETS = _words(
    "b b br c ch d d dr f f fr g h j k k l l l m m m n n p r r r s s sh st t t th tr v v w z"
)
_VOWELS = _words("a a a a e e e e i i i o o o u ai ea ie")
_CODAS = _words("- - - - - - l n n n m r r s t x nd ll th")

_ADJECTIVES = _words(
    "amber ancient blind blue bold bright broken burning careless cold crooked crystal dark "
    "deaf distant early electric empty endless faded fallen final first forgotten foreign frozen "
    "gentle golden gone green hidden hollow honest humble idle iron ivory kind last late little "
    "lonely long lost low lucky midnight modern narrow nervous new northern old open outer paper "
    "perfect plain quiet rapid ready red restless royal rusty sacred second secret silent silver "
    "simple sleepless slow small soft solar southern spare static still stolen strange sudden "
    "sweet tall tender tired torn true velvet violet warm wasted western white wicked wild winter "
    "wooden young"
)
_NOUNS = _words(
    "afternoon airport alley anchor angel arrow ash avenue balcony beacon bell bird blossom boat "
    "bone border bridge brother candle canyon cathedral chamber child choir circle city clock "
    "cloud coast colour comet compass country crow dancer daughter dawn desert diamond door dream "
    "drum dust echo engine evening eye fable fever field fire flame flood flower forest fountain "
    "fox garden ghost giant glass grace gravity habit harbour harvest heart highway hill home "
    "horizon horse hotel hour house hunter island jacket january journey key kingdom ladder lake "
    "lantern letter light lion lullaby machine magnet map market meadow memory mile mirror "
    "moment money moon morning mountain mouth needle neighbour night number ocean october orchard "
    "palace parade passenger photograph piano picture pilot planet poem prayer promise queen radio "
    "rain reason ribbon river road robin room rose sailor saint sand satellite sea season shadow "
    "shore signal sister sky sleep smoke snow soldier song sparrow spring station stone storm "
    "story stranger street summer sunday sun swallow telephone temple thief thread thunder tide "
    "tiger tomorrow tower town traffic train tunnel valley village violin voice wall water wave "
    "weather wheel whisper wind window wire witness wolf wonder world yesterday"
)
_VERBS = _words(
    "answer believe borrow break breathe call carry catch change chase close count cross dance "
    "drive fall fight find fly follow forget forgive hear hide hold keep know leave lift listen "
    "lose love meet miss move need open paint promise remember rescue ride run save see shake sing "
    "sleep stay stop swim take tell touch trust turn wait wake walk want watch"
)
_PLURALS_OF_BANDS = _words(
    "arrows brothers cousins dancers dreamers engines fables foxes ghosts giants hunters lanterns "
    "letters lions machines mirrors neighbours pilots poets rivals sailors saints shadows sisters "
    "sparrows strangers thieves tigers travellers villagers wolves"
)

_GENRE_STEMS = _words(
    "rock pop folk jazz soul blues house techno metal punk country reggae ambient disco funk gospel"
)
_GENRE_PREFIXES = ("", "indie ", "classic ", "experimental ")


def make_genre_names(n_genres: int) -> list[str]:
    """Name genres, the plain ones first."""
    named = [prefix + stem for prefix in _GENRE_PREFIXES for stem in _GENRE_STEMS]
    return [named[i] if i < len(named) else f"genre {i}" for i in range(n_genres)]


def make_artist_names(n_artists: int, rng: np.random.Generator) -> list[str]:
    """Name artists, each differently."""
    names: dict[str, None] = {}
    while len(names) < n_artists:
        missing = n_artists - len(names)
        names.update(dict.fromkeys(_draw_artist_names(missing + missing // 8 + 8, rng)))
    return list(names)[:n_artists]


def make_titles(n_titles: int, rng: np.random.Generator) -> list[str]:
    """Name songs; two songs may share a title, as songs do."""
    kinds = rng.integers(0, len(_TITLE_FORMS), n_titles)
    adjectives = _pick(_ADJECTIVES, n_titles, rng)
    nouns = _pick(_NOUNS, n_titles, rng)
    others = _pick(_NOUNS, n_titles, rng)
    verbs = _pick(_VERBS, n_titles, rng)
    return [
        _TITLE_FORMS[kind].format(a=a, n=n, m=m, v=v)
        for kind, a, n, m, v in zip(kinds, adjectives, nouns, others, verbs, strict=True)
    ]


_TITLE_FORMS = (
    "{a} {n}",
    "{a} {n}",
    "The {n}",
    "{n}",
    "{n} and {m}",
    "{v} the {n}",
    "{v} Me, {n}",
    "Don't {v}",
    "{n} in the {m}",
    "{v} Away",
    "No {n}",
    "My {a} {n}",
    "Songs for a {a} {n}",
    "I {v} the {n}",
    "When the {n} Is {a}",
)


def _draw_artist_names(n: int, rng: np.random.Generator) -> list[str]:
    given = _draw_words(n, 2, rng)
    family = _draw_words(n, 2, rng)
    long = _draw_words(n, 3, rng)
    adjectives = _pick(_ADJECTIVES, n, rng)
    nouns = _pick(_NOUNS, n, rng)
    plurals = _pick(_PLURALS_OF_BANDS, n, rng)
    forms = (
        lambda i: f"{given[i]} {family[i]}",
        lambda i: f"{given[i]} {family[i]}",
        lambda i: f"{given[i]} {long[i]}",
        lambda i: f"The {adjectives[i]} {plurals[i]}",
        lambda i: f"{given[i]} & the {plurals[i]}",
        lambda i: f"{adjectives[i]} {nouns[i]} {long[i]}",
        lambda i: f"{long[i]}",
    )
    kinds = rng.integers(0, len(forms), n)
    return [forms[kind](i) for i, kind in enumerate(kinds)]


def _draw_words(n: int, n_syllables: int, rng: np.random.Generator) -> list[str]:
    """Make pronounceable words: onset and vowel per syllable, a coda on the last."""
    parts = []
    for _ in range(n_syllables):
        parts += [_pick(_ONSETS, n, rng, title=False), _pick(_VOWELS, n, rng, title=False)]
    codas = ["" if coda == "-" else coda for coda in _pick(_CODAS, n, rng, title=False)]
    return ["".join(word).capitalize() for word in zip(*parts, codas, strict=True)]


def _pick(
    words: tuple[str, ...], n: int, rng: np.random.Generator, *, title: bool = True
) -> npt.NDArray[np.object_]:
    table = np.array([word.capitalize() if title else word for word in words], dtype=object)
    return table[rng.integers(0, len(table), n)]
