"""What the card of a model says, beside what whole runs show."""

import tomllib

from medte_haystack.training.card import write_card
from medte_haystack.training.config import Config

CLEANED = {
    "against": {"beir:/home/me/scifact": 300, "MedQAPair": 20},
    "sources": {"a": {"tasks": {"MedQAPair": {"id": 3, "near": 1}}}, "b": {"tasks": {"MedQAPair": {"exact": 2}}}},
}


def test_settings_are_toml_and_name_no_folder(tmp_path):
    (tmp_path / "clusters").mkdir()
    config = Config.model_validate(
        {
            "run": {"steps": 1},
            "data": {"weights": {"a b": 2.0}, "decontaminate_against": [str(tmp_path / "held.txt")]},
            "batches": {"kind": "locality", "cluster_model": str(tmp_path / "clusters")},
        }
    )
    record = {
        "config": config.model_dump(mode="json"),
        "base": {"name": "tiny", "weights_sha256": "0" * 64},
        "pairs_sha256": "0" * 64,
        "versions": {"medte": "1"},
        "devices": 1,
    }
    source = {"source": "a", "pairs": 5, "share": 1.0, "with_negatives": 0, "repeated": 0}
    card = write_card(record, [source], 1, [], {}, CLEANED)
    settings = tomllib.loads(card.partition("```toml\n")[2].partition("```")[0])
    assert settings["data"]["weights"] == {"a b": 2.0}
    assert settings["batches"]["cluster_model"] == "clusters"
    assert str(tmp_path) not in card
    assert "| scifact | 300 | 0 |" in card
    assert "| MedQAPair | 20 | 6 |" in card
    assert "decontaminate" not in settings["data"]
