"""What a finding is called elsewhere: names and words of MITRE ATLAS, OWASP AISVS and EDPB Opinion 28/2024.

Which finding speaks to which of them stands on registry lines (`auditor.taxonomy`); here are the words alone.

Source: names of MITRE ATLAS as of its data of April 2025, where "ML" became "AI"; requirements of OWASP AISVS 1.0,
chapter C11, in our words; EDPB Opinion 28/2024 of 17 December 2024, paragraph 43.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from auditor import registry
from auditor.taxonomy import ACCESS, Likelihood

EDPB: Final = "EDPB Opinion 28/2024, paragraph 43"
AISVS: Final = "OWASP AISVS 1.0"
ATLAS: Final = "MITRE ATLAS"
MEANS: Final = "all the means reasonably likely to be used"
LIKELIHOODS: Final[Mapping[Likelihood, str]] = {
    "extraction": "likelihood of direct (including probabilistic) extraction of personal data from the model",
    "queries": "likelihood of obtaining personal data from queries",
}
TECHNIQUES: Final[Mapping[str, str]] = {
    "AML.T0015": "Evade AI Model",
    "AML.T0020": "Poison Training Data",
    "AML.T0024": "Exfiltration via AI Inference API",
    "AML.T0024.000": "Infer Training Data Membership",
    "AML.T0024.001": "Invert AI Model",
    "AML.T0024.002": "Extract AI Model",
    "AML.T0040": "AI Model Inference API Access",
    "AML.T0043.000": "Craft Adversarial Data: White-Box Optimization",
    "AML.T0043.001": "Craft Adversarial Data: Black-Box Optimization",
    "AML.T0044": "Full AI Model Access",
}
REQUIREMENTS: Final[Mapping[str, str]] = {
    "C11.1.3": "models are evaluated against the attack techniques that are known for their kind of data",
    "C11.2": "membership inference and model inversion are limited",
    "C11.2.3": "outputs are calibrated, so that predictions are less overconfident",
    "C11.2.4": "training on sensitive data uses differential privacy",
    "C11.2.5": "simulated membership inference does no better than random guessing",
    "C11.3.2": "raw outputs stay behind the application, and what is served is calibrated to the extraction risk",
}


def technique(id_: str) -> str:
    """`AML.T0024.001 Invert AI Model`; the id alone where its name is not known here."""
    return f"{id_} {TECHNIQUES[id_]}" if id_ in TECHNIQUES else id_


def requirement(id_: str) -> str:
    """`C11.2.5 (simulated membership inference …)`."""
    return f"{id_} ({REQUIREMENTS[id_]})" if id_ in REQUIREMENTS else id_


def terms(finding: str, access: Iterable[str]) -> list[tuple[str, str]]:
    """(list, term) of everything that a finding speaks to, for an adversary who held `access`."""
    held, taxon = tuple(access), registry.taxon(finding)
    found = [(EDPB, LIKELIHOODS[likelihood])] if (likelihood := taxon.likelihood(held)) else []
    found += [(AISVS, requirement(id_)) for id_ in taxon.requirements(held)]
    return [*found, *((ATLAS, technique(id_)) for id_ in taxon.techniques(held))]


def every() -> list[tuple[str, str]]:
    """All terms that have words here, in the order of a list, but those that say what an adversary holds."""
    found = [(EDPB, words) for words in LIKELIHOODS.values()]
    found += [(AISVS, requirement(id_)) for id_ in REQUIREMENTS]
    return [*found, *((ATLAS, technique(id_)) for id_ in TECHNIQUES if id_ not in ACCESS.values())]


def means(access: Iterable[str]) -> str:
    """Techniques that give this access, `AML.T0044 Full AI Model Access`; empty where none does."""
    return ", ".join(map(technique, dict.fromkeys(ACCESS[word] for word in access if word in ACCESS)))
