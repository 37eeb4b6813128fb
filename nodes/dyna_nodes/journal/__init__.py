"""The intent journal: what was about to happen is written down before it happens.

A checkpoint tells which calls the agent had decided on; only the journal tells which of them were really
started. After a crash, an intent that was started and has no outcome may or may not have had its effect:
nobody knows, so a human is asked before anything else acts. A call that is known to be done is not done
again.
"""

from dyna_nodes.journal.beside import ajournal_beside, has_place_beside, journal_beside
from dyna_nodes.journal.intents import Intent, IntentStatus, JournalError, answer_text
from dyna_nodes.journal.journal import IntentJournal

__all__ = [
    "Intent",
    "IntentJournal",
    "IntentStatus",
    "JournalError",
    "ajournal_beside",
    "answer_text",
    "has_place_beside",
    "journal_beside",
]
