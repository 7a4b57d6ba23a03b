"""What simulated chatters write: phrases with slots, drawn by Zipf's law, and the probability of each text.

{o} is an object, {a} what it does, {c} a colour. Reactions name the object and never a colour; answers name the colour
and never the object, so that the right answer depends on what only the right frame shows. Answers and generic
phrases may carry a filler ("ngl"), which makes their texts diverse. `response_table` is the exact distribution of
the words of a response, from which the ceiling is computed.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Sequence

from .world import COLOURS, WorldSpec

REACTIONS = (
    "what color is that {o}",
    "wait what color was the {o}",
    "which color is the {o} this time",
    "chat what color was that {o}",
    "did anyone see the color of the {o}",
    "guess the color of the {o}",
    "that {o} lol",
    "the {o} again",
    "did you see the {o}",
    "look at that {o}",
    "look at the {o} {a}",
    "why is the {o} {a}",
    "that {o} is {a} like crazy",
    "what is the {o} doing",
    "the {o} came out of nowhere",
    "omg the {o}",
    "there is the {o}",
    "finally a {o}",
    "i love the {o}",
    "that {o} was so good",
    "who put a {o} there",
    "nice {o}",
    "a {o} really",
    "is that a {o}",
    "was that a {o}",
    "the {o} is back",
    "i want that {o}",
    "this {o} is everything",
    "bro the {o}",
    "my favorite is the {o}",
    "the way the {o} is {a}",
    "not the {o}",
    "the {o} scared me",
    "clip the {o}",
    "rate the {o}",
    "talk about the {o} please",
    "everyone saw the {o} right",
    "i missed the {o}",
    "go back to the {o}",
    "ok but the {o}",
    "never seen a {o} {a} before",
    "the {o} was too fast",
    "best {o} of the stream",
    "{o} {o} {o}",
    "thank you {o}",
    "we need more of the {o}",
)
ANSWERS = (
    "{c}",
    "it was {c}",
    "{c} for sure",
    "looks {c} to me",
    "so {c}",
    "definitely {c}",
    "i think {c}",
    "pretty sure it was {c}",
    "{c} one",
    "the {c} one",
    "i saw {c}",
    "all {c}",
    "it is {c}",
    "{c} obviously",
    "clearly {c}",
    "just {c}",
    "very {c}",
    "kinda {c}",
    "really {c}",
    "more like {c}",
    "that was {c}",
    "was {c} the whole time",
    "my answer is {c}",
    "going with {c}",
    "i say {c}",
    "say {c}",
    "type {c}",
    "easy {c}",
    "{c} all day",
    "{c} again",
    "another {c} one",
    "bright {c}",
    "looked {c}",
    "looking {c}",
    "it has to be {c}",
    "must be {c}",
    "must have been {c}",
    "could only be {c}",
    "voting {c}",
    "my vote is {c}",
    "team {c}",
    "{c} gang",
    "always {c}",
    "why is it {c}",
    "why so {c}",
    "how is that {c}",
    "love the {c}",
    "i like {c}",
    "nice {c}",
    "that {c} though",
    "such a {c}",
    "what a {c}",
    "full {c}",
    "totally {c}",
    "basically {c}",
    "100 percent {c}",
    "{c} and nothing else",
    "anything but {c} is wrong",
    "everyone knows it was {c}",
    "on my screen it is {c}",
    "for me it looked {c}",
    "put me down for {c}",
    "it was {c} right",
    "{c} no doubt",
    "{c} is the answer",
    "answer is {c}",
    "hundred on {c}",
    "my eyes say {c}",
    "mom says {c}",
    "even i saw {c}",
    "told you {c}",
    "i called {c}",
    "called it {c}",
    "{c} wins",
    "{c} every time",
    "only {c}",
    "super {c}",
    "shiny {c}",
    "did you mean {c}",
    "so it was {c}",
    "they went with {c}",
    "somebody painted it {c}",
    "painted {c}",
    "in {c} too",
    "that is {c}",
    "{c} if you ask me",
    "{c} looks good",
    "{c} suits it",
    "final answer {c}",
)
GENERIC = (
    *("lol", "gg", "nice", "lmao", "wow", "omg", "haha", "no way", "lets go", "pog", "true", "insane", "what a play"),
    *("same", "huge", "clean", "crazy", "based", "unreal", "so good", "well played", "that was close", "love it"),
    *("rip", "hype", "first try", "good one", "this is great", "amazing", "i am dead", "too funny", "big win"),
    *("we are so back", "it is over", "classic", "unlucky", "respect", "oh my", "here we go", "not again", "legend"),
    *("what just happened", "how", "perfect", "yes", "nope", "never lucky", "so smooth", "stop it", "beautiful"),
    *("that is wild", "i can not believe it", "content", "peak content", "cinema", "massive", "good stuff", "sheesh"),
    *("my nerves can not take it", "what a moment", "goosebumps", "speechless", "incredible", "too easy", "scripted"),
    *("they did it", "do it again", "one more time", "more please", "worth the wait", "what a stream", "iconic"),
)
OFF_TOPIC = (
    "hello from brazil",
    "good morning everyone",
    "hi chat how are you all",
    "first time here",
    "just got back from work",
    "what time is it over there",
    "how long is the stream today",
    "i should be studying right now",
    "anyone want to play later",
    "what is the name of this song",
    "the music is too loud",
    "can you turn up the volume",
    "my internet is so slow today",
    "the stream is lagging for me",
    "is it only me or is there no sound",
    "happy birthday by the way",
    "thanks for the stream",
    "when is the next stream",
    "i have to go to bed soon",
    "making dinner while watching",
    "this is my comfort channel",
    "how is your week going",
    "did you watch the game yesterday",
    "what are you eating today",
    "i just subscribed for a year",
    "welcome in everybody",
    "greetings from germany",
    "does anyone know a good movie",
    "my dog is sleeping next to me",
    "what headset do you use",
    "is there a discord server",
    "please say hi to my brother",
    "it is raining here all day",
    "i am so tired today",
    "school starts again on monday",
    "who is going to the convention",
    "been here since the beginning",
    "the new update is terrible",
    "which keyboard do you recommend",
    "i need more coffee",
    "almost weekend friends",
    "you should take a break soon",
    "drink some water",
    "how many people are watching",
    "i can not stay for long",
    "my exam went really well",
    "do you take requests",
    "that reminds me of last year",
    "remember when we were ten viewers",
    "can we get a poll for that",
    "what did i miss",
    "sorry i am late",
    "are you streaming tomorrow",
    "who else is at work",
    "i forgot my password again",
    "this chat is moving fast",
    "mods are doing a great job",
    "have a good night everyone",
    "brb getting a snack",
    "i am back",
    "what game comes next",
    "nobody asked but ok",
    "let him think",
    "she is so talented",
    "that is what i said",
    "you are doing great today",
    "long time no see",
    "any plans for the summer",
)
SUFFIXES = (
    "lol",
    "fr",
    "ngl",
    "tho",
    "imo",
    "chat",
    "bro",
    "man",
    "honestly",
    "haha",
    "guys",
    "for real",
    "i swear",
    "no cap",
)
EMOTES = {  # first-party codes and their ids
    "Kappa": "25",
    "LUL": "425618",
    "PogChamp": "305954156",
    "HeyGuys": "30259",
    "BibleThump": "86",
    "NotLikeThis": "58765",
    "Kreygasm": "41",
    "SeemsGood": "64138",
    "ResidentSleeper": "245",
    "WutFace": "28087",
    "DansGame": "33",
    "VoHiYo": "81274",
}
COPYPASTA = (
    "i used to be a regular viewer like you until one day i took a long break and came back to find that everyone in"
    " this chat had become a professional analyst with ten thousand hours of experience in watching streams",
    "dear streamer my son can not stop laughing at your jokes please make them less funny we have school tomorrow and"
    " the neighbours are starting to ask questions about the noise in the evening",
)
BOT_LINES = (
    "Welcome to the stream! Type !commands for a list of everything I can do.",
    "Follow the channel to be notified when we go live, and join us in the community server!",
    "This stream is simulated and made for testing. Nobody in this chat is real.",
)
COMMANDS = ("!uptime", "!commands", "!discord", "!song", "!lurk", "!followage", "!points")
LINKS = (
    "check this out https://example.com/clip/{n}",
    "free skins at www.example.net/{n}",
    "my art is on example.org/gallery/{n}",
)


@functools.cache
def zipf(count: int, exponent: float) -> tuple[float, ...]:
    """Probabilities proportional to 1 / rank ** exponent."""
    weights = [1 / (rank + 1) ** exponent for rank in range(count)]
    return tuple(weight / sum(weights) for weight in weights)


def with_suffixes(spec: WorldSpec, phrases: Sequence[str], suffix_share: float) -> list[tuple[str, float]]:
    """(text, probability) of every phrase without and with a filler."""
    plain = zip(phrases, zipf(len(phrases), spec.zipf), strict=True)
    found = []
    for phrase, weight in plain:
        found.append((phrase, weight * (1 - suffix_share)))
        for suffix in SUFFIXES:
            if suffix not in phrase:
                found.append((f"{phrase} {suffix}", weight * suffix_share / len(SUFFIXES)))
    total = sum(weight for _, weight in found)
    return [(text, weight / total) for text, weight in found]


@functools.cache
def answer_phrases(spec: WorldSpec) -> tuple[tuple[str, float], ...]:
    """(template, probability) of every answer, fillers included."""
    return tuple(with_suffixes(spec, ANSWERS, spec.suffix_share))


@functools.cache
def generic_phrases(spec: WorldSpec) -> tuple[tuple[str, float], ...]:
    """(text, probability) of every generic phrase, fillers included."""
    return tuple(with_suffixes(spec, GENERIC, spec.generic_suffix_share))


def fill(template: str, *, name: str | None = None, colour: str | None = None, action: str | None = None) -> str:
    """The template with its slots filled and its article right ("an umbrella")."""
    return re.sub(r"\b(a)(?= [aeiou])", r"\1n", template.format(o=name, c=colour, a=action))


def canonical(text: str) -> str:
    """The words of a text without manners: NFKC, casefold, runs of one letter cut to one, only words and spaces."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"[^\w\s]", " ", text)
    return " ".join(re.sub(r"(.)\1+", r"\1", text).split())


def response_table(spec: WorldSpec) -> dict[str, dict[str | None, float]]:
    """canonical text -> {colour seen: P(words | a kept response, colour)}; key None is the mean over colours.

    A response is generic, or noise in a colour drawn at random, or an answer in the colour seen.
    """
    kept = 1 - spec.response_junk_share
    generic = spec.response_generic_share / kept
    noise = spec.response_random_share / kept
    answer = 1 - generic - noise
    table: dict[str, dict[str | None, float]] = {}
    for text, weight in generic_phrases(spec):
        row = table.setdefault(canonical(text), dict.fromkeys((*COLOURS, None), 0.0))
        for colour in row:
            row[colour] += generic * weight
    for (text, weight), said in itertools.product(answer_phrases(spec), COLOURS):
        row = table.setdefault(canonical(fill(text, colour=said)), dict.fromkeys((*COLOURS, None), 0.0))
        for colour in row:
            hit = 1 / len(COLOURS) if colour is None else float(colour == said)
            row[colour] += weight * (noise / len(COLOURS) + answer * hit)
    return table
