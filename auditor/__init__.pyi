from auditor import errors as errors
from auditor.api.auditing import audit as audit
from auditor.api.auditing import check as check
from auditor.api.auditing import load_target as load_target
from auditor.api.report import Report as Report

__version__: str
__all__ = ["Report", "__version__", "audit", "check", "errors", "load_target"]
