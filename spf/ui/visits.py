"""What Gradio remembers of its visitors, so that it does not grow with them."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

LEFT = 20
"""Visitors whose tabs are closed that are remembered, in case they come back."""


class Visit(SessionState):
    """What is remembered of one visitor: the values of `gr.State`. Gradio also keeps a description
    of every field with the last value that was sent to it, pictures included, for links that this
    page has in another form.
    """

    config_values = property(lambda self: {}, lambda self, value: None)

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


class Visits(StateHolder):
    """Session -> `Visit`. Those who have left make room for those who come."""

    def __getitem__(self, session: str) -> SessionState:
        if session not in self.session_data:
            with self.lock:
                left = [name for name, one in self.session_data.items() if one.is_closed]
                for name in left[:-LEFT]:
                    self.session_data.pop(name, None)
                    self.time_last_used.pop(name, None)
            self.session_data[session] = Visit(self.blocks)
        return super().__getitem__(session)


class Roomy(gr.Blocks):
    """Blocks whose memory of visitors, which Gradio gives them at launch, is `Visits`."""

    @property
    def state_holder(self) -> StateHolder:
        return self._visits

    @state_holder.setter
    def state_holder(self, holder: StateHolder) -> None:
        holder.__class__ = Visits
        self._visits = holder
