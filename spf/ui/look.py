"""Theme and launch options of the page: local fonts, two colour schemes, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.themes.utils.colors import Color
from gradio.themes.utils.fonts import LocalFont
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from .components import STATIC, head
from .gpu import may_train
from .server import LOCAL, Front
from .texts import translations

TEAL = Color(
    "#effaf8",
    "#d5f1ed",
    "#aee2db",
    "#7dcdc4",
    "#4fb3aa",
    "#2f978f",
    "#1b7b75",
    "#0f645f",
    "#10504d",
    "#123f3d",
    "#07282a",
    name="teal",
)
STONE = Color(
    "#f6f6f3",
    "#eeeeea",
    "#dcdcd6",
    "#c3c4bf",
    "#93979b",
    "#6b727b",
    "#565d68",
    "#31363c",
    "#22262a",
    "#181b1e",
    "#101214",
    name="stone",
)


def theme() -> gr.themes.Base:
    """The colours of static/style.css, for Gradio's own components."""
    # Gradio's files of weight 600 lack most letters, so 700 stands in for them.
    fallback = ("system-ui", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "sans-serif")
    return gr.themes.Base(
        primary_hue=TEAL,
        secondary_hue=TEAL,
        neutral_hue=STONE,
        radius_size=gr.themes.sizes.radius_md,
        font=(LocalFont("IBM Plex Sans", weights=(400, 700)), *fallback),
        font_mono=(LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"),
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="#16191d",
        body_text_color_dark="#eceef0",
        body_text_color_subdued="#565d68",
        body_text_color_subdued_dark="#a7afb9",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_50",
        background_fill_secondary_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_label_text_color="#565d68",
        block_title_text_weight="600",
        block_title_text_size="*text_sm",
        block_title_text_color="#16191d",
        block_title_text_color_dark="#eceef0",
        block_info_text_color="#565d68",
        block_info_text_color_dark="#a7afb9",
        border_color_primary="*neutral_200",
        border_color_primary_dark="*neutral_700",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_950",
        input_border_color="*neutral_200",
        input_border_color_dark="*neutral_700",
        input_border_color_focus="*primary_700",
        input_border_color_focus_dark="*primary_400",
        input_placeholder_color="#6b727b",
        input_placeholder_color_dark="#93979b",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_300",
        button_primary_background_fill_hover_dark="*primary_200",
        button_primary_text_color="white",
        button_primary_text_color_dark="#06211f",
        button_secondary_background_fill="*neutral_100",
        button_secondary_background_fill_dark="*neutral_800",
        slider_color="*primary_700",
        slider_color_dark="*primary_400",
        checkbox_label_background_fill_selected="*primary_100",
        checkbox_label_background_fill_selected_dark="*primary_900",
        checkbox_background_color_selected="*primary_700",
        checkbox_background_color_selected_dark="*primary_500",
        checkbox_border_color_selected="*primary_700",
        color_accent="*primary_700",
        color_accent_soft="*primary_100",
        color_accent_soft_dark="*primary_900",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )


def launch_options(*, local: bool = True, hosts: Sequence[str] = ()) -> dict[str, Any]:
    """What every launch of the page has in common.

    local: answer under the names of this machine only, and `hosts`.
    """
    front = Middleware(Front, script=head(), hosts=(*LOCAL, *hosts) if local else None)
    smaller = Middleware(GZipMiddleware, minimum_size=1000, compresslevel=6)
    return {
        "app_kwargs": {"middleware": [smaller, front]},
        "theme": theme(),
        "css_paths": [STATIC / "style.css"],
        "i18n": translations(),
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        "run_history": False,
        "show_error": False,
        "allowed_paths": [],
        "max_file_size": "512mb" if may_train() else "5mb",
        "share": False,
    }
