"""The phrases of other languages that say which option is the answer, put into English.

Only what the rules need is translated: "the answer is", "is correct", "I choose", "not", "option".
Letters are Latin: models that are asked with A, B, C answer with them in every language.
"""

# ruff: noqa: RUF001  # letters of other languages look like Latin ones

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from harness.extract.aligned import Aligned
from harness.extract.characters import tidy

_LETTER = r"[\"'(\[*]{0,3}[A-Z]\b"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phrases:
    """Patterns of one language, in the order in which they are translated; "": there is none."""

    sign: str
    """A text without this is not in the language."""
    final: str = ""
    answer: str = ""
    instead: str = ""
    """ "rather than", before the option that is not chosen."""
    not_but: str = ""
    """ "is not, but", after that option."""
    is_not: str = ""
    incorrect: str = ""
    correct: str = ""
    answers: str = ""
    """ "is the answer", after the option."""
    answer_first: str = ""
    """ "the answer is", before the option."""
    choose: str = ""
    copula: str = ""
    option: str = ""
    therefore: str = ""
    but: str = ""
    wait: str = ""
    ending: str = ""
    """What follows the option in a sentence that says no more: the copula of Japanese."""


_ENGLISH = {
    "final": "the final answer",
    "answer": "the answer",
    "instead": "rather than",
    "not_but": "is incorrect, but",
    "is_not": "is not",
    "incorrect": "is incorrect",
    "correct": "is correct",
    "answers": "is the answer",
    "answer_first": "the answer is",
    "choose": "I choose",
    "copula": "is",
    "option": "option",
    "therefore": "therefore",
    "but": "but",
    "wait": "wait,",
    "ending": "",
}

_LANGUAGES = (
    _Phrases(  # Spanish
        sign=r"respuesta|opci[oó]n|alternativa correcta|elijo|escojo|\bes correct|\A\W*letra\b",
        final=r"\b(?:la |mi )?respuesta final\b",
        answer=r"\b(?:la |mi )?(?:mejor )?(?:respuesta|opci[oó]n|alternativa|elecci[oó]n)"
        r"(?: (?:correcta|adecuada))?(?: a (?:la|esta) pregunta)?"
        r"(?=,? ?(?:por (?:lo )?tanto,? |entonces |pues )?(?:no )?(?:es|ser[ií]a|debe ser|:))",
        incorrect=r"\b(?:es|son) (?:la |el )?(?:respuesta )?(?:incorrect[ao]|fals[ao])\b"
        r"|\bno es (?:la |el )?(?:respuesta |opci[oó]n )?correct[ao]\b",
        is_not=r"\bno (?:es|ser[ií]a)(?: (?:la|el))?\b",
        correct=r"\bes (?:la |el )?(?:respuesta |opci[oó]n )?correct[ao]\b",
        choose=r"\b(?:elijo|escojo|selecciono)(?: la)?\b",
        copula=r"\b(?:por (?:lo )?tanto,? |entonces |pues )?(?:es|ser[ií]a|debe ser)"
        r"(?:,? por (?:lo )?tanto,?)?(?: (?:la|el))?\b",
        option=rf"\b(?:la )?(?:opci[oó]n|letra|alternativa)(?= {_LETTER})|\bla(?= [A-Z]\b)",
        therefore=r"\bpor (?:lo )?tanto\b|\bas[ií] que\b",
        but=r"\b(?:sino|pero)\b",
    ),
    _Phrases(  # Portuguese
        sign=r"resposta|op[cç][aã]o|alternativa|escolho",
        final=r"\b(?:a |minha )?resposta final\b",
        answer=r"\b(?:a |minha )?(?:melhor )?(?:resposta|op[cç][aã]o|alternativa)"
        r"(?: (?:correta|certa))?(?: para a pergunta)?"
        r"(?=,? ?(?:portanto,? |ent[aã]o )?(?:n[aã]o )?(?:é|seria|deve ser|:))",
        incorrect=r"(?<!\w)é (?:a |o )?(?:resposta )?(?:incorret[ao]|errad[ao]|fals[ao])\b"
        r"|\bn[aã]o é (?:a |o )?(?:resposta |op[cç][aã]o )?(?:corret|cert)[ao]\b",
        is_not=r"\bn[aã]o (?:é|seria)(?: (?:a|o))?(?!\w)",
        correct=r"(?<!\w)é (?:a |o )?(?:resposta |op[cç][aã]o )?(?:corret|cert)[ao]\b",
        choose=r"\b(?:escolho|seleciono)(?: a)?(?!\w)",
        copula=r"(?<!\w)(?:portanto,? |ent[aã]o )?(?:é|seria|deve ser)(?:,? portanto,?)?"
        r"(?: (?:a|o))?(?!\w)",
        option=rf"\b(?:a )?(?:op[cç][aã]o|letra|alternativa)(?= {_LETTER})",
        therefore=r"\b(?:portanto|logo|assim)\b",
        but=r"\bmas\b|\be sim\b",
    ),
    _Phrases(  # French
        sign=r"r[eé]ponse|l'option|je choisis",
        final=r"\b(?:la |ma )?r[eé]ponse finale\b",
        answer=r"(?:\bla |\bma |\bl')?\b(?:bonne |meilleure )?(?:r[eé]ponse|option|proposition)"
        r"(?: (?:correcte|exacte|juste))?(?: à la question)?(?= ?(?:n'est|est|serait|doit|:))",
        incorrect=r"\best (?:incorrecte?|fausse?)\b"
        r"|\bn'est pas (?:la )?(?:bonne réponse|réponse correcte|correcte?|juste)",
        is_not=r"\bn'est pas(?: la)?\b",
        correct=r"\best (?:donc )?(?:la )?"
        r"(?:bonne réponse|réponse correcte|correcte?|juste|exacte?)\b",
        choose=r"\bje choisis(?: la)?\b",
        copula=r"\b(?:est|serait|doit être)(?: donc)?(?: la)?\b",
        option=rf"(?:\bla |\bl')?\b(?:option|lettre|réponse)(?= {_LETTER})|\bla(?= [A-Z]\b)",
        therefore=r"\bdonc\b",
        but=r"\bmais\b",
    ),
    _Phrases(  # German
        sign=r"\bantwort\b|ich wähle|\b(?:richtig|korrekt)(?:e option)?\b|endgültig",
        final=r"\b(?:die |meine )?endgültige antwort\b",
        answer=r"\b(?:die |meine )?(?:richtige |korrekte |beste )?(?:antwort|option)"
        r"(?= ?(?:ist|lautet|wäre|:))",
        incorrect=r"\bist (?:falsch|nicht (?:richtig|korrekt|die richtige antwort))\b",
        is_not=r"\b(?:ist|lautet) nicht\b",
        correct=r"\bist (?:daher |also |somit )?(?:die )?(?:richtige antwort|richtig|korrekt)\b",
        # "Also ist B richtig", "Richtig ist B"
        answer_first=r"\b(?:ist(?= (?:option |antwort )?[\"'(\[]{0,2}[A-Z][\"')\]]{0,2} "
        r"(?:die )?(?:richtig|korrekt))|(?:richtig|korrekt) ist)\b",
        choose=r"\bich wähle(?: die)?\b",
        copula=r"\b(?:ist|lautet|wäre)(?: (?:daher|also|somit|demnach))?(?: (?:die|der|das))?\b",
        option=rf"\b(?:die )?(?:option|antwort|buchstabe)(?= {_LETTER})",
        therefore=r"\b(?:daher|also)\b",
        but=r"\b(?:sondern|aber)\b",
    ),
    _Phrases(  # Russian
        sign=r"ответ|вариант|выбираю",
        final=r"\b(?:окончательный|итоговый) ответ(?= ?[-:])",
        answer=r"\b(?:правильны[йм]|верны[йм]) (?:ответ|вариант)(?:ом)?(?: ответа)?(?: является)?"
        rf"(?= ?(?:[-:]|не |это |{_LETTER}))|\bответ(?= ?(?:[-:]|не |это |{_LETTER}))",
        incorrect=r" ?-? ?(?:является )?(?:неправильны[йм]|неверны[йм])(?: ответом?)?|\bневерно\b",
        is_not=r"(?<=answer) ?-? ?(?:это )?не\b|\bне(?= [A-Z]\b)",
        answers=r" ?-? ?(?:это )?(?:правильный|верный) (?:ответ|вариант)\b|\bверно\b",
        choose=r"\b(?:я )?выбираю\b",
        copula=r"(?<=answer) ?- ?(?:это )?|(?<=answer) (?:это|является)\b",
        option=rf"\b(?:вариант|буква|ответ)(?= {_LETTER})",
        therefore=r"\b(?:поэтому|следовательно|таким образом)\b",
        but=r"\b(?:но|а)(?= [A-Z]\b)",
    ),
    _Phrases(  # Japanese, before Chinese: it alone has kana
        sign=r"[ぁ-ヿ]",
        final=r"最終(?:的な)?(?:答え|回答|解答)(?:は|:)",
        answer=r"(?:正しい|正解の)?(?:答え|正解|回答|解答|選択肢)(?:は|:)",
        not_but=r"(?<=[A-Z]) ?では?なく,?",
        incorrect=r"(?<=[A-Z]) ?(?:は|が)?(?:不正解|間違い|誤り)(?:です)?",
        is_not=r"(?<=[A-Z]) ?で(?:は|も)(?:ない|ありません)",
        answers=r"(?<=[A-Z]) ?(?:が|は)(?:正解|正しい|答え)(?:です|だ)?",
        choose=r"(?:私は)?(?=[A-Z] ?を(?:選|選択))",
        option=r"選択肢",
        therefore=r"(?:したがって|よって|従って|ゆえに)",
        but=r"しかし",
        ending=r"(?: ?を(?:選びます|選択します|選ぶ))?(?:です|だ|である|となります|になります)?"
        r"(?=\.|\n|$)",
    ),
    _Phrases(  # Chinese
        sign=r"[答选選]|正[确確]",
        final=r"最[终後后](?:的)?答案(?=是|为|為|:)",
        answer=r"(?:正确|正確|最佳|最合适)?的?(?:答案|选项|選項)(?:应该|应|就)?(?=选|是|为|為|不|:)",
        instead=r"而(?:不是|非)",
        incorrect=r"(?:是)?不正确的?|(?:是)?不正確的?|(?:是)?错误的?|(?:是)?不对的?",
        is_not=r"不(?:应该?)?[是为為选選]择?",
        correct=r"(?:也|才)?是?正[确確](?:的)?(?:答案)?",
        choose=r"(?:我们?|應|应)?(?:该)?[选選][择擇](?!项|項)|[选選](?![项項择擇])",
        copula=r"(?<=the answer) *+(?:是|为|為)",
        option=r"(?<![A-Z] )(?:选项|選項)",
        ending=r"(?<=[A-Z] )(?:选项|選項)",
        therefore=r"因此,?|所以,?|故(?= )|综上(?:所述)?,?",
        but=r"而?(?<!不)是(?= [A-Z]\b)|但是?",
        wait=r"等等|不对",
    ),
    _Phrases(  # Korean
        sign=r"정답|답은|답:",
        final=r"최종 ?(?:정답|답)(?:은|:)",
        answer=r"(?:올바른 )?(?:정답|답변|답)(?:은|:)",
        not_but=r"(?<=[A-Z]) ?(?:가|이) 아니(?:라|고),?",
        is_not=r"(?<=[A-Z]) ?(?:가|이) (?:아닙니다|아니)",
        answers=r"(?<=[A-Z]) ?(?:가|이) (?:정답|답)(?:입니다)?",
        option=r"선택지|보기",
        therefore=r"따라서",
        ending=r"(?:번)? ?입니다(?=\.|\n|$)",
    ),
    _Phrases(  # Hindi
        sign=r"उत्तर|जवाब|विकल्प",
        final=r"अंतिम (?:उत्तर|जवाब)(?= ?(?:है|:))",
        answer=rf"(?:सही )?(?:उत्तर|जवाब)(?= ?(?:है|:|विकल्प|{_LETTER}))"
        rf"|सही विकल्प(?= ?(?:है|:|{_LETTER}))",
        incorrect=r"(?<=[A-Z]) ?(?:गलत|सही नहीं) है",
        is_not=r"(?<=[A-Z]) ?नहीं है",
        answers=r"(?<=[A-Z]) ?सही(?: (?:उत्तर|विकल्प|जवाब))? है",
        copula=rf"(?<=the answer) *+है ?:?|(?<=the answer)(?= *+(?:विकल्प )?{_LETTER})",
        option=rf"विकल्प(?= ?{_LETTER})",
        therefore=r"इसलिए|अतः",
        ending=r" है(?=\.|\n|$)",
    ),
    _Phrases(  # Urdu, before Arabic
        sign=r"\bجواب\b|آپشن|ے",
        final=r"(?:حتمی|آخری) جواب(?= ?(?:ہے|:))",
        answer=rf"(?:صحیح |درست )?جواب(?= ?(?:ہے|:|آپشن|{_LETTER}))"
        rf"|(?:صحیح|درست) آپشن(?= ?{_LETTER})",
        incorrect=r"(?<=[A-Z]) ?(?:غلط|درست نہیں|صحیح نہیں) ہے",
        is_not=r"(?<=[A-Z]) ?نہیں ہے",
        answers=r"(?<=[A-Z]) ?(?:درست|صحیح)(?: (?:جواب|آپشن))? ہے"
        r"|(?<=[A-Z]) ?(?:درست|صحیح) the answer",
        copula=rf"(?<=the answer)(?= *+(?:آپشن )?{_LETTER})",
        option=rf"آپشن(?= ?{_LETTER})",
        therefore=r"لہذا|اس لیے",
        ending=r" ہے(?=\.|\n|$)",
    ),
    _Phrases(  # Indonesian
        sign=r"\bjawaban|\bpilihan|\bopsi\b",
        final=r"\bjawaban akhir(?:nya)?\b",
        answer=r"\b(?:jawaban(?:nya)?|pilihan|opsi)(?: (?:yang )?(?:paling )?(?:benar|tepat))?"
        r"(?= (?:bukan(?:lah)? |ialah |adalah )| ?:)",
        incorrect=r"\b(?:salah|tidak (?:benar|tepat))\b",
        is_not=r"\bbukan(?:lah)?\b",
        correct=r"\b(?:adalah (?:jawaban )?(?:yang )?(?:benar|tepat))\b",
        choose=r"\bsaya (?:me)?milih\b",
        copula=r"\b(?:adalah|ialah)\b",
        option=rf"\b(?:pilihan|opsi|huruf|jawaban)(?= {_LETTER})",
        therefore=r"\b(?:jadi|oleh karena itu)\b",
        but=r"\b(?:melainkan|tetapi)\b",
    ),
    _Phrases(  # Italian
        sign=r"\brisposta\b|\bopzione\b|\bscelgo\b",
        final=r"\b(?:la )?risposta finale\b",
        answer=r"(?:\bla |\bl')?\b(?:risposta|opzione)(?: (?:corretta|giusta|esatta))?"
        r"(?=,? ?(?:quindi |dunque )?(?:non )?(?:è|sarebbe|:))",
        incorrect=r"(?<!\w)è (?:sbagliata|errata|scorretta|falsa)\b"
        r"|\bnon è (?:la )?(?:risposta )?(?:corretta|giusta|esatta)\b",
        is_not=r"\bnon (?:è|sarebbe)(?: la)?(?!\w)",
        correct=r"(?<!\w)è (?:la )?(?:risposta )?(?:corretta|giusta|esatta)\b",
        choose=r"\bscelgo(?: la)?\b",
        copula=r"(?<!\w)(?:quindi |dunque )?(?:è|sarebbe)(?: (?:quindi|dunque))?(?: la)?(?!\w)",
        option=rf"(?:\bla |\bl')?\b(?:opzione|lettera|risposta)(?= {_LETTER})|\bla(?= [A-Z]\b)",
        therefore=r"\b(?:quindi|pertanto|dunque)\b",
        but=r"\b(?:bensì|ma)\b",
    ),
    _Phrases(  # Arabic
        sign=r"الإجابة|الاجابة|الجواب|الخيار",
        final=r"(?:الإجابة|الاجابة) النهائية(?= (?:هي|هو)| ?:)",
        answer=r"(?:الإجابة|الاجابة|الجواب|الخيار)(?: (?:الصحيحة|الصحيح))?"
        rf"(?= (?:هي|هو|ليست|ليس)| ?:| {_LETTER})",
        incorrect=r"(?<=[A-Z]) ?(?:غير صحيح[ة]?|خاطئ[ة]?|خطأ)",
        is_not=r"(?:ليست|ليس)(?: (?:هي|هو))?",
        answers=r"(?<=[A-Z]) ?(?:هي|هو) (?:الإجابة|الجواب|الخيار) (?:الصحيحة|الصحيح)",
        copula=rf"(?<=the answer) ++(?:هي|هو)(?: الحرف)?|(?<=the answer)(?= *+{_LETTER})",
        option=rf"(?:الخيار|الحرف)(?= {_LETTER})",
        therefore=r"لذلك|إذن",
        but=r"بل",
    ),
    _Phrases(  # Bengali
        sign=r"উত্তর|বিকল্প",
        final=r"চূড়ান্ত উত্তর(?= ?(?:হল|:))",
        answer=rf"(?:সঠিক )?উত্তর(?:টি)?(?= ?(?:হল|হচ্ছে|:|{_LETTER}))",
        incorrect=r"(?<=[A-Z]) ?(?:ভুল|সঠিক নয়)",
        is_not=r"(?<=[A-Z]) ?নয়",
        answers=r"(?<=[A-Z]) ?(?:হল )?সঠিক(?: উত্তর)?",
        copula=rf"(?<=the answer) *+(?:হলো|হল|হচ্ছে)|(?<=the answer)(?= *+{_LETTER})",
        option=rf"বিকল্প(?= ?{_LETTER})",
        therefore=r"সুতরাং|তাই",
    ),
)

_TRANSLATIONS = tuple(
    (
        re.compile(language.sign, re.IGNORECASE),
        [
            (re.compile(pattern, re.IGNORECASE), f" {_ENGLISH[field.name]} ")
            for field in fields(language)
            if field.name != "sign" and (pattern := getattr(language, field.name))
        ],
    )
    for language in _LANGUAGES
)
_OTHER_SCRIPT = re.compile(r"[а-яء-يक-হぁ-ヿ一-鿿가-힣]")
_LATIN_SIGN = re.compile(
    r"respuesta|resposta|op[cç][iaã][oó]|alternativa|elijo|esco[jl]|r[eé]ponse|antw|richtig|je ch"
    r"|l'opt|ich w|letra |korrekt|endgültig|es correct|jawaban|pilihan|opsi |risposta"
    r"|opzione|scelgo"
)


def in_english(text: Aligned) -> Aligned:
    """The text with the phrases of the first language that it has a sign of in English."""
    if not (_OTHER_SCRIPT.search(text.text) or _LATIN_SIGN.search(text.text.lower())):
        return text
    phrases = next((phrases for sign, phrases in _TRANSLATIONS if sign.search(text.text)), ())
    for pattern, english in phrases:
        text = text.sub(pattern, english)
    return tidy(text)
