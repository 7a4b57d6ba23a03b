"""How much foreign chat an English channel drops, and how little of its own: the trial behind `CleaningConfig`."""

from __future__ import annotations

import pytest

from videochat.cleaning.chat import build_chat
from videochat.cleaning.config import CleaningConfig
from videochat.cleaning.lists import load_lists
from videochat.cleaning.run import run_rules
from videochat.schema import RawMessage, Recording

# Written for this test, the way people chat: short, without punctuation.
FOREIGN = {
    "de": (
        "guten abend zusammen | wie geht es dir heute | das war aber knapp | "
        "ich hab keine ahnung was er macht | was ist das für ein spiel | schönen feierabend euch allen | "
        "der boss ist echt schwer | kannst du bitte lauter machen | viel glück noch | hahaha geil gespielt"
    ),
    "es": (
        "hola a todos | que buena jugada | cuando empieza el directo | no entiendo nada de este juego | "
        "jajaja que malo eres | buenas noches desde mexico | como se llama esta cancion | "
        "eres el mejor del mundo | vamos que se puede | ya se murio otra vez"
    ),
    "fr": (
        "bonjour tout le monde | c'est trop fort ce jeu | tu joues depuis combien de temps | "
        "je comprends rien | bonne nuit à tous | il va mourir encore | mdr quel boulet | t'as vu ça ou pas | "
        "allez les gars | on est ensemble"
    ),
    "pt": (
        "boa noite galera | que jogada linda | não entendi nada | qual o nome da musica | "
        "esse cara é muito bom | vai começar quando | tamo junto demais | saudades do brasil | "
        "morreu de novo kkkk | você é o melhor"
    ),
    "ru": ("привет всем | как дела | что за игра | хорошая катка | удачи тебе | спасибо за стрим"),
    "it": ("buonasera a tutti | che bella giocata | non capisco niente | quando inizia la diretta | sei il migliore"),
    "pl": ("dzień dobry wszystkim | co to za gra | powodzenia w następnej rundzie | nie wiem o co chodzi"),
    "tr": ("herkese merhaba | bu oyun çok güzel | nasılsın bugün | yayın ne zaman başlıyor"),
    "ja": ("こんばんは | すごいプレイだった | 今日も配信ありがとう | おめでとうございます"),
    "ko": ("안녕하세요 | 오늘 방송 재밌어요 | 진짜 잘한다 | ㅋㅋㅋㅋ 대박이다"),
    "zh": ("主播好强 | 哈哈哈哈笑死我了 | 这是什么游戏 | 今天几点下播"),
    "ar": ("السلام عليكم | كيف حالك اليوم | لعب جميل جدا"),
    "nl": ("goedenavond allemaal | wat een mooie actie | ik snap er niks van | hoe lang speel je dit al"),
    "sv": ("god kväll allihopa | vilket snyggt spel | jag fattar ingenting"),
}
ENGLISH = """that was so close | what game is this | i cant believe it | hello everyone how are you | lets gooo | gg
well played | nice one dude | why is he doing that | she is going the wrong way lol | bruh what the heck
| you got this | no way he lives | oh hell yeah blue stinger | id eat that | chao music is the best |
denchi please | battle network more like warcrime simulator | never played forces but ok | poggers
clutch | w streamer fr fr | skill issue tbh | cmon man focus | good night chat love you | rip in peace |
my cat does that too | first time here | did they nerf it | tell him to go left | copium overdose |
monkey brain"""


def kept(texts: list[str], language: str) -> list[str]:
    """The texts that a recording of `language` keeps."""
    messages: list[RawMessage] = [
        {"id": None, "offset_ms": 0, "author": None, "author_id": None, "badges": [], "fragments": [(text, None)]}
        for text in texts
    ]
    recording = Recording(
        recording_id="test-1",
        platform="twitch",
        platform_id="1",
        channel="",
        category="Art",
        language=language,
        duration_ms=1000,
        num_messages=len(texts),
        chat_digest="",
    )
    chat = build_chat(iter([messages]), recording, CleaningConfig(), load_lists())
    run_rules(chat)
    return [text for text, stays in zip(texts, chat.kept, strict=True) if stays]


def lines(text: str) -> list[str]:
    return [part.strip() for part in text.replace("\n", " ").split("|")]


def test_an_english_channel_keeps_english_and_drops_most_of_the_rest() -> None:
    english = lines(ENGLISH)
    foreign = [line for text in FOREIGN.values() for line in lines(text)]
    assert kept(english, "en") == english
    left = kept(english + foreign, "en")
    assert left[: len(english)] == english
    assert len(left) - len(english) < 0.35 * len(foreign)


@pytest.mark.parametrize("language", ["de", "es", "fr", "ru", "ja", "ko", "zh"])
def test_a_channel_keeps_its_own_language(language: str) -> None:
    own = lines(FOREIGN[language])
    assert kept(own, language) == own
