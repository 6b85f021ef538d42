"""Texts of requests, in several scripts; word frequencies are distributed as in real texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

_WORDS = {
    "en": """desk lamp chair office monitor cable toner paper laptop printer cleaning service licence software keyboard
        battery screws steel pump valve filter gloves helmet safety boots drill bearing motor sensor server rack switch
        router training catering travel repair spare parts annual maintenance contract label pallet box tape packaging
        laboratory glass reagent pipette microscope calibration forklift lease insurance translation audit banner
        brochure exhibition stand""",
    "de": """Schreibtisch Leuchte Bürostuhl Bildschirm Kabel Drucker Papier Reinigung Wartung Ersatzteile Schrauben
        Pumpe Ventil Filter Handschuhe Schutzhelm Sicherheitsschuhe Bohrmaschine Wälzlager Motor Fühler Verpackung
        Palette Schulung Prüfung Laborglas Übersetzung Messestand""",
    "fr": """bureau lampe chaise écran câble imprimante papier nettoyage entretien pièces vis pompe vanne filtre gants
        casque chaussures perceuse roulement moteur capteur emballage palette formation étalonnage verrerie traduction
        café""",
    "el": "γραφείο λάμπα καρέκλα οθόνη καλώδιο εκτυπωτής χαρτί καθαρισμός συντήρηση ανταλλακτικά βίδες αντλία φίλτρο",
    "ru": "стол лампа кресло монитор кабель принтер бумага уборка обслуживание запчасти винты насос клапан фильтр",
    "ar": "مكتب مصباح كرسي شاشة كابل طابعة ورق تنظيف صيانة قطع غيار مضخة صمام مرشح قفازات خوذة",
    "he": "שולחן מנורה כיסא מסך כבל מדפסת נייר ניקיון תחזוקה חלפים ברגים משאבה מסנן כפפות קסדה",
    "ja": "机 照明 椅子 モニター ケーブル プリンター 用紙 清掃 保守 部品 ねじ ポンプ バルブ フィルター 手袋 安全帽",
    "hi": "मेज़ दीपक कुर्सी परदा तार मुद्रक कागज़ सफ़ाई रखरखाव पुर्ज़े पेंच पंप छन्नी दस्ताने",
}
_LANGUAGES = {"en": 40, "de": 20, "fr": 12, "ja": 8, "ru": 5, "ar": 5, "el": 4, "he": 3, "hi": 3}
_SIGNS = ("", "", "", "", "", "", "", "", "", " ☕", " 🛠️", " – dringend")
_MODELS = 5000
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"


@dataclass(frozen=True)
class Language:
    """Words, the frequent ones first."""

    words: Sequence[str]
    weights: Sequence[float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", list(accumulate(1 / rank for rank in range(1, len(self.words) + 1))))

    def phrase(self, random: Random, words: int) -> str:
        return " ".join(random.choices(self.words, cum_weights=self.weights, k=words))

    def title(self, random: Random) -> str:
        """A title; some contain a model, for selective searches."""
        model = f" {model_name(random.randrange(_MODELS))}" if random.random() < 0.4 else ""
        return f"{self.phrase(random, random.randint(2, 5))}{model}{random.choice(_SIGNS)}"


LANGUAGES = {code: Language(tuple(words.split())) for code, words in _WORDS.items()}


def model_name(number: int) -> str:
    return f"{_LETTERS[number % 23]}{_LETTERS[number // 23 % 23]}{number:04d}"


def some_language(random: Random) -> Language:
    code = random.choices(list(_LANGUAGES), weights=list(_LANGUAGES.values()))[0]
    return LANGUAGES[code]
