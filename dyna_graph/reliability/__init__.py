"""What an experience log says about a world model: per tool how far it can be believed, and from where on.

`evidence` reads the log, `report` measures as a trust gate does, `proposal` writes the YAML, `calibration` chooses
thresholds and checks them on data that had no part in the choice.
"""

from dyna_graph.reliability.calibration import Calibration, calibrate
from dyna_graph.reliability.evidence import Call, Evidence, read_evidence
from dyna_graph.reliability.proposal import propose
from dyna_graph.reliability.report import ToolTrust, TrustReport, measure

__all__ = [
    "Calibration",
    "Call",
    "Evidence",
    "ToolTrust",
    "TrustReport",
    "calibrate",
    "measure",
    "propose",
    "read_evidence",
]
