"""What in a search sentence a text encoder hardly follows: words of colour, size, number and place, other languages."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

MAX_NAMED_WORDS = 8  # attribute words that a note names
MAX_WORD_LENGTH = 40  # letters of the longest word whose accents are composed; composing is quadratic
MIN_HITS = 2  # function words, or words with letters of a language, that tell the language
MIN_HIT_SHARE = 1 / 8  # of all words: fewer hits are names in a list of English words

# Words that describe a thing and don't name it, by what they describe. "Orange", "violet", "left" and "right" also
# have other meanings; their neighbours decide.
ATTRIBUTE_WORDS: Mapping[str, str] = {
    "colour": "red orange yellow green blue purple violet pink brown black white grey gray beige turquoise scarlet "
    "crimson maroon golden reddish yellowish greenish bluish brownish greyish grayish whitish colourful colorful "
    "coloured colored multicoloured multicolored colourless colorless",
    "size": "big bigger biggest small smaller smallest large larger largest little tiny huge enormous gigantic",
    "number": "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty several many dozen dozens",
    "place": "left right above below beneath under underneath beside behind",
}
ATTRIBUTES = frozenset(word for words in ATTRIBUTE_WORDS.values() for word in words.split())
COLOURS = frozenset(ATTRIBUTE_WORDS["colour"].split())
NUMERALS = frozenset(str(number) for number in range(2, 101))
ATTRIBUTE_PHRASES = frozenset({"pair of", "couple of", "next to", "in front of", "on top of"})
# What may stand beside an attribute in a word with hyphens: dark-blue, black-and-white, twenty-one.
HYPHEN_PARTS = frozenset({"dark", "light", "pale", "bright", "deep", "and", "one"})

FRUIT_OR_FLOWER = frozenset({"orange", "violet"})
SIDES = frozenset({"left", "right"})
BEFORE_SIDE = frozenset({"the", "its", "his", "her", "top", "bottom", "upper", "lower", "far", "facing"})
AFTER_SIDE = frozenset({"of", "side", "half", "corner", "edge", "hand"})

# Names of kinds that hold such a word: labels of ImageNet (timm.data.ImageNetInfo, 1k and well-known ones of 22k), by
# their first words; and the black panther, and single things that are called a pair.
KIND_NAMES: Mapping[str, str] = {
    "african": "grey gray",
    "big": "cat dipper top wheel",
    "black": "bean bear grouse kite mamba olive panther pepper rhino rhinoceros stork swan tea widow",
    "blue": "cheese crab jay jean marlin shark tit whale",
    "brown": "bear rat rice sugar trout",
    "golden": "eagle hamster oriole pheasant retriever",
    "gray": "fox squirrel whale wolf",
    "great gray": "owl",
    "great grey": "owl",
    "great white": "heron shark",
    "green": "bean mamba onion pea pepper tea turtle woodpecker",
    "grey": "fox squirrel whale wolf",
    "highland white": "terrier",
    "kerry blue": "terrier",
    "little": "auk egret grebe owl",
    "little blue": "heron",
    "orange": "juice peel tree",
    "pair of": "binoculars eyeglasses glasses headphones jeans pants pincers pliers scissors shorts spectacles "
    "sunglasses tongs trousers tweezers",
    "purple": "finch martin",
    "red": "admiral cabbage cedar coral deer fox maple oak onion panda pepper setter snapper squirrel wine wolf",
    "right": "whale",
    "white": "fox pelican pepper rhino rhinoceros rice shark stork whale wine wolf",
    "yellow": "jacket warbler",
}
KINDS = frozenset(f"{first} {last}" for first, lasts in KIND_NAMES.items() for last in lasts.split())
POSSIBLE_STARTS = ATTRIBUTES | NUMERALS | {phrase.partition(" ")[0] for phrase in KINDS | ATTRIBUTE_PHRASES}

LANGUAGE_NAMES: Mapping[str, str] = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "pl": "Polish",
}
# Frequent words of each language. English has none of the others' words, which is why German lacks "die" and "in",
# Spanish "con" and Dutch "met"; what another language has, too, is missing from English.
FUNCTION_WORDS: Mapping[str, str] = {
    "en": "the of with without and or that which at by from on to into it its are for his their has this",
    "de": "der das und ein eine einen einem einer eines mit auf für ist im dem zu zum zur von vor aus bei neben unter "
    "über nicht sich wird sind auch oder seine ihr ihre sie es wie nach durch zwei sitzt steht liegt",
    "fr": "le la les un une des du de et est dans sur avec qui que au aux ce cette sa ses elle ne pas en sous chez à "
    "leur deux devant l' d' qu'",
    "es": "el la los las un una unos unas de del y en que es por para su sus se al lo sobre muy está están como junto "
    "dos tres pero este esta desde hacia tiene",
    "it": "il lo la gli le un una uno di del della dei delle degli e che è nel nella sul sulla al alla da dal dalla si "
    "sono più sotto sopra accanto tra su l' d' dell' all' nell' sull' dall'",
    "pt": "os um uma uns umas de da dos das e em na nos nas com que é para por ao à não se sua seu são está sobre pelo "
    "pela muito duas dois num numa",
    "nl": "de het een en op voor naar aan te zijn niet dat bij uit ook wordt tussen naast boven tegen maar twee deze om "
    "heeft staat ligt achter",
    "pl": "w z na się jest nie że od za nad przy przez ze który która które są oraz dla jak jego jej dwa dwie obok",
}
# Words after "orange" that show that it is the fruit.
FRUIT_FOLLOWERS = frozenset(
    f"{FUNCTION_WORDS['en']} {ATTRIBUTE_WORDS['place']} a an in is as was next".split()
)
WORD_LANGUAGES: Mapping[str, tuple[str, ...]] = {
    word: tuple(code for code, others in FUNCTION_WORDS.items() if word in others.split())
    for words in FUNCTION_WORDS.values()
    for word in words.split()
}
LANGUAGE_LETTERS: Mapping[str, frozenset[str]] = {
    "de": frozenset("äöüß"),
    "es": frozenset("ñáíóú"),
    "it": frozenset("ìòù"),
    "pt": frozenset("ãõáíóú"),
    "pl": frozenset("ąćęłńóśźż"),
}
# Letters that English has in names and the words below only; é, è, ê, ç, ï and such are in too many to tell a thing.
FOREIGN_LETTERS = frozenset("ßøłñäöüåþðčćšžřěůąęśźżńőűğşıțăãõđơưáíóúýìòù")
FOREIGN_WORDS = (
    "jalapeño jalapeños piñata piñatas piña niño niña señor señora señorita día açaí são über müsli doppelgänger "
    "schrödinger röntgen führer smörgåsbord ångström smørrebrød"
)
LOAN_WORDS = frozenset(FOREIGN_WORDS.split())
# Names and phrases in English texts that hold words of the lists above.
FOREIGN_PHRASES = (
    "los angeles, las vegas, el paso, la paz, la la, des moines, les paul, le mans, el niño, la niña, au lait, au vin, "
    "au chocolat, la carte, la mode, la king, en masse, en route, de janeiro, de gaulle, los muertos, da vinci, "
    "und drang, das boot"
)
LOAN_PHRASES = frozenset(FOREIGN_PHRASES.split(", "))
LOAN_STARTS = frozenset(phrase.partition(" ")[0] for phrase in LOAN_PHRASES)

# Scripts, by what the Unicode names of their letters hold, each with its name and languages.
SCRIPTS: Mapping[str, tuple[str, str]] = {
    "LATIN": ("Latin script", ""),
    "CYRILLIC": ("Cyrillic script", "ru uk be bg sr mk kk mn"),
    "GREEK": ("Greek script", "el"),
    "CJK": ("Chinese or Japanese script", "zh ja"),
    "HIRAGANA": ("Chinese or Japanese script", "zh ja"),
    "KATAKANA": ("Chinese or Japanese script", "zh ja"),
    "ARABIC": ("Arabic script", "ar fa ur"),
    "HEBREW": ("Hebrew script", "he yi"),
    "HANGUL": ("Hangul", "ko"),
    "DEVANAGARI": ("Devanagari", "hi mr ne"),
}
LATIN_SCRIPT = SCRIPTS["LATIN"]
OTHER_SCRIPT = ("another script", "")
OTHER_LANGUAGE = "another language"

# A number with a fraction or thousands, a word with its accents, or signs between words.
_TOKEN = re.compile(r"\d+(?:[.,]\d+)+|[\w\u0300-\u036f'-]+|[^\w\s]+")


def find_attribute_words(text: str) -> tuple[str, ...]:
    """The words of colour, size, number and place in a text: lower case, in its order, each once.

    An encoder that knows kinds of things can't follow them. Words in the name of a kind, as in "red fox", are left
    out.
    """
    tokens = _split_tokens(text)
    found: dict[str, None] = {}
    end = 0  # of the last phrase
    for at, token in enumerate(tokens):
        if at < end or not (token in POSSIBLE_STARTS or "-" in token):
            continue
        end = at + _phrase_length(tokens, at, KINDS)
        if end == at:
            end = at + (_phrase_length(tokens, at, ATTRIBUTE_PHRASES) or _is_attribute(tokens, at))
            if end > at:
                found[" ".join(tokens[at:end])] = None
    return tuple(found)


def guess_other_language(text: str, languages: Collection[str] = ("en",)) -> str | None:
    """The language or the script that a text seems to be written in; None for English, and where it is unclear.

    Scripts tell by their letters, languages in Latin script by their function words. Two languages that fit alike are
    both named.

    Args:
        text: the text.
        languages: ISO 639-1 codes of what the reader knows; these are not reported. What can't be named is reported
            to a reader of English only.
    """
    only_english = set(languages) <= {"en"}
    script = _main_script(text)
    if script:
        name, readers = script
        known = bool(set(readers) & set(languages)) if readers else not only_english
        return None if known else name
    words = _split_elisions(_split_tokens(text))
    codes = _likely_languages(words)
    if set(codes) & set(languages):
        return None
    if 1 <= len(codes) <= 2:
        return " or ".join(LANGUAGE_NAMES[code] for code in codes)
    unnamed = bool(codes) or (bool(words) and all(_has_foreign_letter(word) for word in words))
    return OTHER_LANGUAGE if unnamed and only_english else None


def describe_text_doubts(text: str, languages: Collection[str] = ("en",)) -> list[str]:
    """What a user should know about a text that an encoder reads otherwise than meant, a sentence each.

    Args:
        text: the text.
        languages: ISO 639-1 codes of what the encoder reads.
    """
    language = guess_other_language(text, languages)
    if language:
        known = ", ".join(sorted(LANGUAGE_NAMES.get(code, code) for code in languages))
        return [f"it seems to be in {language}; the text encoder reads {known}"]
    words = () if guess_other_language(text) else find_attribute_words(text)  # the lists are of English words
    if not words:
        return []
    more = " …" if len(words) > MAX_NAMED_WORDS else ""
    named = ", ".join(words[:MAX_NAMED_WORDS])
    return [f"{named}{more}: words of colour, size, number and place hardly count; kinds of things do"]


def _split_tokens(text: str) -> list[str]:
    """The words of a text in lower case, and the signs between them."""
    tokens = _TOKEN.findall(text.lower().replace("’", "'").replace("_", " "))
    stripped = (token.strip("'-") or token for token in tokens)
    return [
        unicodedata.normalize("NFC", token) if len(token) <= MAX_WORD_LENGTH else token for token in stripped
    ]


def _phrase_length(tokens: Sequence[str], at: int, phrases: Collection[str]) -> int:
    """The tokens of the longest phrase of two or three words that starts here, its last word in the plural too; or 0."""
    for length in (3, 2):
        *first, last = tokens[at : at + length]
        if any(" ".join((*first, form)) in phrases for form in (last, *_singular_forms(last))):
            return len(first) + 1
    return 0


def _singular_forms(word: str) -> list[str]:
    endings = (("ves", "f"), ("ies", "y"), ("es", ""), ("s", ""))
    return [word.removesuffix(plural) + singular for plural, singular in endings if word.endswith(plural)]


def _is_attribute(tokens: Sequence[str], at: int) -> bool:
    word = tokens[at]
    if "-" in word:
        parts = word.split("-")
        return all(part in ATTRIBUTES or part in HYPHEN_PARTS for part in parts) and any(
            part in ATTRIBUTES for part in parts
        )
    if word not in ATTRIBUTES:
        return word in NUMERALS
    before = tokens[at - 1] if at else ""
    after = tokens[at + 1] if at + 1 < len(tokens) else ""
    if word in SIDES:  # the left wing, but not: a ship left the harbour
        return before in BEFORE_SIDE or after in AFTER_SIDE
    if word in FRUIT_OR_FLOWER:  # an orange cat, but not: an orange on a plate
        if after in {"and", "or"}:
            return at + 2 < len(tokens) and tokens[at + 2] in COLOURS
        return after[:1].isalpha() and after not in FRUIT_FOLLOWERS
    return True


def _main_script(text: str) -> tuple[str, tuple[str, ...]] | None:
    """The name and the languages of the script that most letters are in; None for Latin script."""
    if text.isascii():
        return None
    shares: Counter[tuple[str, str]] = Counter()
    for letter, count in Counter(filter(str.isalpha, text)).items():
        shares[_script_of(letter)] += count
    latin = shares.pop(LATIN_SCRIPT, 0)
    if shares.total() <= latin:
        return None
    name, codes = shares.most_common(1)[0][0]
    return name, tuple(codes.split())


def _script_of(letter: str) -> tuple[str, str]:
    name = unicodedata.name(letter, "")
    return next((script for mark, script in SCRIPTS.items() if mark in name), OTHER_SCRIPT)


def _split_elisions(tokens: Sequence[str]) -> list[str]:
    """The words among tokens, those as in "l'herbe" as two: "l'" and "herbe"."""
    words = []
    for token in tokens:
        head, mark, tail = token.partition("'")
        if len(tail) > 1 and head + mark in WORD_LANGUAGES:
            words += [head + mark, tail]
        elif token[0].isalnum():
            words.append(token)
    return words


def _likely_languages(words: Sequence[str]) -> list[str]:
    """The codes of the languages that fit words in Latin script best and alike; none for English and if unclear."""
    counts = Counter(words)
    for pair in pairwise(words):
        if pair[0] in LOAN_STARTS and " ".join(pair) in LOAN_PHRASES:
            counts.subtract(pair)
    hits: Counter[str] = Counter()
    lettered: Counter[str] = Counter()
    own: Counter[str] = Counter()  # the hits that no other language has
    for word, count in (+counts).items():
        codes = WORD_LANGUAGES.get(word, ())
        for code in codes:
            hits[code] += count
        if not codes and word not in LOAN_WORDS:
            codes = tuple(code for code, letters in LANGUAGE_LETTERS.items() if not letters.isdisjoint(word))
            for code in codes:
                lettered[code] += count
        if len(codes) == 1:
            own[codes[0]] += count
    totals = {code: count + lettered[code] for code, count in hits.items()}
    most = max(totals.values(), default=0)
    best = [code for code, total in totals.items() if total == most]
    if most < MIN_HITS or most < MIN_HIT_SHARE * len(words) or "en" in best:
        return []
    most_own = max(own[code] for code in best)
    return [code for code in LANGUAGE_NAMES if code in best and own[code] == most_own]


def _has_foreign_letter(word: str) -> bool:
    return word not in LOAN_WORDS and not FOREIGN_LETTERS.isdisjoint(word)
