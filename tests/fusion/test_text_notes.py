import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_sbir.fusion.text_notes import describe_text_doubts, find_attribute_words, guess_other_language

SENTENCES = json.loads(Path(__file__).with_name("sentences.json").read_text(encoding="utf-8"))["sentences"]
ENGLISH = [sentence for sentences in SENTENCES.values() for sentence in sentences]
# English search texts that hold words, names or letters of other languages.
ENGLISH_WITH_LOANS = [
    "a café by the sea",
    "naïve painting of a cow",
    "jalapeño",
    "piñata",
    "two piñatas and a jalapeño",
    "crème brûlée",
    "crème brûlée à la carte",
    "café au lait",
    "chicken à la king",
    "chili con carne",
    "pain au chocolat on a plate",
    "Los Angeles, Las Vegas and Des Moines",
    "Los Angeles Las Vegas",
    "La La Land poster",
    "Les Paul guitar",
    "a Che Guevara poster",
    "Rio de Janeiro beach",
    "Charles de Gaulle airport",
    "Leonardo da Vinci flying machine",
    "Día de los Muertos skull",
    "Malmö harbour at night",
    "São Paulo skyline",
    "doppelgänger",
    "an MIT student in a UN uniform",
    "the die is cast",
    "hors d'oeuvre",
    "all's well that ends well",
    "cat",
    "red fox",
    "polar bear",
    "the letter π",
]
OTHER_LANGUAGES = {
    "German": [
        "ein Hund mit einem Ball",
        "der rote Vogel sitzt auf dem Baum",
        "eine kleine Katze und ein großer Hund",
        "Fahrrad neben einer Mauer für Kinder",
        "DAS BOOT IST AUF DEM SEE",
    ],
    "French": [
        "un chat noir sur la table",
        "le chien court dans l'herbe avec une balle",
        "une voiture rouge devant la maison",
        "l’oiseau est sur l’arbre",
    ],
    "Spanish": [
        "el perro corre por la playa",
        "un pájaro rojo en las ramas del árbol",
        "los gatos están sobre la mesa",
        "una flor muy pequeña",
    ],
    "Italian": [
        "il gatto nero è sul tavolo",
        "un cane che corre nella neve",
        "un uccello con il becco lungo",
        "gli uccelli sono sopra la casa",
        "la barca nell'acqua",
    ],
    "Portuguese": [
        "um cão preto na praia",
        "uma menina com um gato",
        "os pássaros estão sobre a árvore do jardim e não voam para casa",
    ],
    "Dutch": [
        "een hond in het gras",
        "een rode fiets naast de boom",
        "de kat zit op een stoel",
        "een man met een hoed en een stok",
    ],
    "Polish": [
        "kot siedzi na stole przy oknie",
        "czerwony ptak, który jest na drzewie",
        "dwa psy w ogrodzie nie śpią",
    ],
    "Cyrillic script": ["красная лиса", "собака бежит по пляжу with a ball", "кіт"],
    "Greek script": ["γάτα", "ένας σκύλος στην παραλία", "το κόκκινο πουλί"],
    "Chinese or Japanese script": ["红狐狸", "犬がボールで遊ぶ", "ネコ", "ﾈｺ"],
    "Arabic script": ["قطة", "كلب على الشاطئ", "گربه سیاه"],
    "Hebrew script": ["חתול", "כלב על החוף", "ציפור אדומה"],
    "Hangul": ["고양이", "빨간 여우", "해변의 개"],
    "Devanagari": ["बिल्ली", "लाल लोमड़ी", "समुद्र तट पर कुत्ता"],
    "another script": ["แมว", "կատու", "კატა"],
    "another language": ["łódź", "Straße", "smør", "größter Bär", "pingüino"],
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a red car and two Dark-Blue bicycles", ("red", "two", "dark-blue")),
        ("Black and white, black-and-white", ("black", "white", "black-and-white")),
        ("big, tiny, big", ("big", "tiny")),
        ("a colorful or multicoloured bird", ("colorful", "multicoloured")),
        ("a yellow-brown skin, whip-like, two-humped", ("yellow-brown",)),
        ("twenty-one dogs, 3 cats, 100 birds", ("twenty-one", "3", "100")),
        ("1 cat, 747, 2.5 m, 1,000 birds, 3d, 007", ()),
        ("a dozen eggs, several hens, many chicks", ("dozen", "several", "many")),
        ("a pair of feelers, a pair of scissors, pairs", ("pair of",)),
        ("a dog next to a cat in front of a house", ("next to", "in front of")),
        ("the left wing, on the right, left of it, above it", ("left", "right", "above")),
        ("a ship left the harbour and turns right round", ()),
        ("an orange cat", ("orange",)),
        ("an orange and red bird", ("orange", "red")),
        ("an orange on a plate, an orange and an apple, orange", ()),
        ("a violet", ()),
        ("red foxes, gray wolves, great white sharks and a blue jay", ()),
        ("a red fox on a red sofa", ("red",)),
        ("a great grey owl, a little blue heron, a big blue heron", ("big", "blue")),
        ("blackbird, redness, biggish, infrared, tall", ()),
        ("", ()),
    ],
)
def test_attribute_words_in_the_order_of_the_text_without_names_of_kinds(text, words):
    assert find_attribute_words(text) == words


@pytest.mark.parametrize(
    ("language", "text"), [(name, text) for name, texts in OTHER_LANGUAGES.items() for text in texts]
)
def test_a_text_in_another_language_is_recognised(language, text):
    assert guess_other_language(text) == language
    assert describe_text_doubts(text) == [f"it seems to be in {language}; the text encoder reads English"]


@pytest.mark.parametrize("text", ENGLISH + ENGLISH_WITH_LOANS)
def test_english_is_never_taken_for_another_language(text):
    assert guess_other_language(text) is None
    assert guess_other_language(text.upper()) is None


def test_accents_may_be_separate_characters():
    assert guess_other_language("fu\u0308r das Ma\u0308dchen") == "German"
    assert guess_other_language("jalapen\u0303o") is None


def test_languages_that_fit_alike_are_both_named():
    assert guess_other_language("un gato en la mesa") == "French or Spanish"
    assert guess_other_language("un gato en la mesa", ("en", "es")) is None
    assert guess_other_language("la le") == "French or Italian"
    assert guess_other_language("de vos in de sneeuw") == "another language"  # four languages have this word
    assert guess_other_language("de vos in de sneeuw", ("en", "pl")) is None


def test_a_few_foreign_words_in_a_list_of_english_words_are_names():
    assert guess_other_language("das und") == "German"
    assert guess_other_language("das und " + "cat dog bird fish " * 5) is None


def test_languages_that_the_encoder_reads_are_no_problem():
    assert guess_other_language("ein Hund mit einem Ball", ("en", "de")) is None
    assert guess_other_language("ein Hund mit einem Ball", ("en", "fr")) == "German"
    assert guess_other_language("красная лиса", ("en", "ru")) is None
    assert guess_other_language("красная лиса", ("en", "de")) == "Cyrillic script"
    assert guess_other_language("แมว", ("en", "th")) is None
    assert guess_other_language("łódź", ("en", "pl")) is None
    assert describe_text_doubts("el gato rojo y las casas", {"en", "fr"}) == [
        "it seems to be in Spanish; the text encoder reads English, French"
    ]


def test_doubts_are_sentences_without_a_period():
    assert describe_text_doubts("a red bird with two legs") == [
        "red, two: words of colour, size, number and place hardly count; kinds of things do"
    ]
    assert describe_text_doubts("a bird") == []
    assert describe_text_doubts("") == []


def test_many_attribute_words_are_cut_short():
    (doubt,) = describe_text_doubts("red blue green pink black white brown grey beige things")
    assert doubt.startswith("red, blue, green, pink, black, white, brown, grey …: words of colour")


def test_attribute_words_are_looked_up_in_english_only():
    assert find_attribute_words("una red y las rosas") == ("red",)  # a net
    assert describe_text_doubts("una red y las rosas", ("en", "es")) == []


HOSTILE_TEXT = st.text() | st.text(
    st.characters(categories=("Cs", "Mn", "Cc", "Ll", "Nd", "Pd")), max_size=99
)


@given(HOSTILE_TEXT)
def test_no_text_crashes_and_notes_are_printable(text):
    assert all(word.isprintable() for word in find_attribute_words(text))
    guess = guess_other_language(text)
    assert guess is None or guess.isprintable()
    assert all(doubt.isprintable() for doubt in describe_text_doubts(text))


@pytest.mark.parametrize(
    "piece",
    ["x", "ä", "1", "1,", "-", "'", "l'", "\u0300\u0327", "\x00", "\ud800", "红", "!?", "red-", "the "],
)
def test_a_million_characters_take_linear_time(piece):
    text = piece * (1_000_000 // len(piece))
    start = time.perf_counter()
    assert all(doubt.isprintable() for doubt in describe_text_doubts(text))
    assert time.perf_counter() - start < 10  # a quadratic step takes minutes


def test_ten_thousand_words_take_little_time():
    text = " ".join(ENGLISH * 20)
    text = " ".join(text.split()[:10_000])
    times = []
    for _ in range(5):
        start = time.perf_counter()
        describe_text_doubts(text)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5  # about 0.03 s; type checks at run time and busy cores multiply it


def test_torch_is_not_imported():
    check = "import sys, ssl_sbir.fusion.text_notes; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
