from auditor import errors as errors
from auditor.api.auditing import audit as audit
from auditor.api.auditing import check as check
from auditor.api.auditing import load_target as load_target
from auditor.api.report import Report as Report
from auditor.api.splitting import check_split as check_split
from auditor.targets.recorded import record as record
from auditor.targets.save import SavedTarget as SavedTarget
from auditor.targets.save import save_target as save_target

__version__: str
__all__ = [
    "Report",
    "SavedTarget",
    "__version__",
    "audit",
    "check",
    "check_split",
    "errors",
    "load_target",
    "record",
    "save_target",
]
