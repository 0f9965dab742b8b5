"""Every word that the page shows, in English and Chinese, in one table.

Gradio's own parameters get `label(key)`, which the browser translates; our components read the table in the browser;
what the server composes is sent in both languages (`both`).
"""

from __future__ import annotations

import gradio as gr

TEXTS: dict[str, tuple[str, str]] = {
    # top line and tabs
    "tagline": ("Teach a portrait model one thing. Keep everything else.", "只教会肖像模型一件事，其余保持不变。"),
    "scheme": ("Light or dark", "浅色或深色"),
    "tab.compare": ("Compare", "对比"),
    "tab.inside": ("Look inside", "看内部"),
    "tab.finetune": ("Fine-tune", "微调"),
    "tab.tour": ("Tour", "导览"),
    "engine.loading": ("loading model", "正在载入模型"),
    "engine.ready": ("model ready", "模型就绪"),
    "engine.failed": ("no model", "没有模型"),
    # compare: inputs
    "examples": ("Examples", "示例"),
    "field.base": ("Base text", "基础文本"),
    "field.base.info": ("the portrait, drawn by the original model", "由原始模型绘制的肖像"),
    "field.base.hint": ("a photo of a young woman with long red hair", "a photo of a young woman with long red hair"),
    "field.target": ("Target text", "目标文本"),
    "field.target.info": ("what should change; several with +", "要改变的内容；多个用 + 连接"),
    "field.target.hint": ("a hat", "a hat"),
    "suggestions": ("Ready targets", "现成的目标"),
    "field.mode": ("The target is", "目标文本"),
    "mode.append": ("added", "追加"),
    "mode.replace": ("put in place of words", "替换词语"),
    "field.replace": ("Words to replace", "被替换的词语"),
    "field.replace.info": ("as they stand in the base text", "与基础文本中的写法一致"),
    "field.adapter": ("Tuned model", "微调模型"),
    "adapter.auto": ("Pick from the target", "根据目标自动选择"),
    "adapter.none": ("None: the original model for both", "无：两边都用原始模型"),
    "field.seed": ("Seed", "随机种子"),
    "dice": ("New seed", "换一个种子"),
    "field.steps": ("Steps", "步数"),
    "field.guidance": ("Guidance", "引导强度"),
    "generate": ("Generate", "生成"),
    "stop": ("Stop", "停止"),
    "settings": ("Settings", "设置"),
    "recall": ("Recall from a picture", "从图片恢复设置"),
    "recall.about": (
        "Drop a PNG saved here: its texts, seed and settings come back.",
        "拖入在此保存的 PNG：文本、种子和设置都会恢复。",
    ),
    "recall.none": ("This picture carries no settings of ours.", "这张图片不含本应用的设置。"),
    # stage
    "role.original": ("Original", "原始"),
    "role.tuned": ("SPF-tuned", "SPF 微调"),
    "role.naive": ("Naive tuning", "普通微调"),
    "view.label": ("How to compare", "对比方式"),
    "view.side": ("Side by side", "并排"),
    "view.slider": ("Slider", "滑块"),
    "view.difference": ("Difference", "差异"),
    "rival.label": ("Compare the original with", "与原始对比"),
    "slider.label": ("Share of the original that is shown, in per cent", "显示原始图的百分比"),
    "download.png": ("Save picture", "保存图片"),
    "download.all": ("Download all (.zip)", "全部下载 (.zip)"),
    "link.copy": ("Copy link", "复制链接"),
    "link.copied": ("Copied", "已复制"),
    "look.inside": ("Look inside", "看内部"),
    "kept": ("{n} attributes unchanged", "{n} 个属性未变"),
    "word.phrase": ("a phrase that gets its own attention map", "有自己注意力图的短语"),
    "word.target": ("the target", "目标"),
    "word.unknown": ("the model does not know this word", "模型不认识这个词"),
    "word.dropped": ("beyond the 77 tokens that the text encoder reads", "超出文本编码器的 77 个词元"),
    # progress
    "status.queued": ("Waiting for the model …", "等待模型……"),
    "status.loading": ("Loading the model, once …", "正在载入模型（仅一次）……"),
    "status.step": ("{what}: step {k} of {n}{left}", "{what}：第 {k}/{n} 步{left}"),
    "status.judging": ("Reading both portraits …", "正在识别两张肖像……"),
    "status.left": (", about {s} s left", "，约剩 {s} 秒"),
    "status.stopped": ("Stopped at step {k} of {n}. Nothing is lost; press Generate to start again.",
                       "已在第 {k}/{n} 步停止。没有丢失任何内容，按“生成”重新开始。"),
    "status.stopped.early": ("Stopped before the first step.", "在第一步之前已停止。"),
    "status.done": ("Done. There are no judges in checkpoints/, so nothing is said about attributes.",
                    "完成。checkpoints/ 中没有评判模型，因此不评价属性。"),
    "status.empty": ("Write a base text and a target, then press Generate.", "填写基础文本和目标，然后按“生成”。"),
    "error.bug": (
        "Something went wrong on our side. Your texts are kept. Code {code}: the log has the details under it.",
        "程序出错，您的文本仍保留。代码 {code}：日志中有详细信息。",
    ),
    # verdict
    "verdict.there": ("{Target} {verb} there.", "已出现：{target}。"),
    "verdict.missing": ("{Target} {verb} not there.", "未出现：{target}。"),
    "verdict.some": ("{Target} {verb} there, but not {missing}.", "已出现：{target}；未出现：{missing}。"),
    "verdict.kept": ("All {n} other attributes are unchanged.", "其余 {n} 个属性全部未变。"),
    "verdict.changed": ("{same} of {n} other attributes are unchanged; {what} changed.",
                        "其余 {n} 个属性中 {same} 个未变；改变的有：{what}。"),
    "verdict.plain": ("Nobody taught the judges this target, so they only say what else changed.",
                      "评判模型没有学过这个目标，因此只报告其他变化。"),
    "verdict.same_model": ("No tuned model is active: both portraits come from the original model.",
                           "没有启用微调模型：两张肖像都来自原始模型。"),
    "score.clean": ("target there, nothing else changed", "目标已出现，其余未变"),
    "score.changed": ("target there, {k} of {n} others changed", "目标已出现，{n} 个中变了 {k} 个"),
    "score.missing": ("target missing, {k} of {n} others changed", "目标未出现，{n} 个中变了 {k} 个"),
    "score.plain": ("{k} of {n} others changed", "{n} 个中变了 {k} 个"),
    "score.base": ("base text", "基础文本"),
    "and": (" and ", "和"),
    "no adapter": ("no tuned model", "无微调模型"),
    # notices
    "notice.unknown": ("The model does not know: {words}. It was trained on portraits only and ignores such words.",
                       "模型不认识：{words}。它只学过肖像，会忽略这些词。"),
    "notice.dropped": ("The text is longer than the encoder reads; these words fall off: {words}.",
                       "文本超出编码器长度，这些词被截去：{words}。"),
    "notice.no_adapter": ("No tuned model fits this target, so the original model draws the complete text.",
                          "没有适合该目标的微调模型，因此由原始模型绘制完整文本。"),
    "notice.few_adapters": ("Only {names} has a tuned model; the other words are left to the original weights.",
                            "只有 {names} 有微调模型；其余词语由原始权重处理。"),
    "notice.link": ("The link was not used: {why}", "链接未被采用：{why}"),
    # look inside
    "inside.empty": ("Generate a pair or pick an example in Compare; its maps appear here.",
                     "在“对比”中生成或选择示例后，这里会显示注意力图。"),
    "inside.what": ("What to show", "显示内容"),
    "inside.words": ("Words", "词语"),
    "inside.maps": ("Maps", "图"),
    "inside.play": ("Play", "播放"),
    "inside.pause": ("Pause", "暂停"),
    "inside.step": ("Denoising step", "去噪步"),
    "inside.count": ("step {k} of {n}", "第 {k}/{n} 步"),
    "inside.opacity": ("Overlay", "叠加"),
    "inside.layers": ("Layers", "层"),
    "inside.all": ("all", "全部"),
    "inside.left": ("what “{what}” leaves", "减去“{what}”后剩下的"),
    "inside.map": ("The map alone", "仅图"),
    "inside.change": ("Tuned minus original", "微调减原始"),
    "inside.export": ("Download maps (.npz)", "下载图 (.npz)"),
    "inside.chain": ("From the noise difference to the control map", "从噪声差到控制图"),
    "inside.chain.about": (
        "Each base phrase takes its share away, weighted by how far its meaning is from the target. What is left is "
        "the SFCM: where the target may act. Every tile follows the step above.",
        "每个基础短语按其与目标语义的距离减去自己的部分，剩下的就是 SFCM：目标可以起作用的区域。各小图随上方步数变化。",
    ),
    "inside.about.phrase": ("Where “{what}” acts: attention of the picture to these words, in either model.",
                            "“{what}”作用的位置：两个模型中画面对这些词的注意力。"),
    "inside.about.target": ("Where “{what}” acts in the tuned model. The original never reads these words.",
                            "“{what}”在微调模型中作用的位置。原始模型没有读到这些词。"),
    "inside.about.pad": ("Attention to the padding after the text. It carries the meaning of the whole sentence.",
                         "对文本之后填充词元的注意力，它携带整句话的含义。"),
    "inside.about.noise": (
        "Where the two predictions of the noise differ: the first hint at what the target changes.",
        "两个噪声预测的差异：目标改变了哪里的第一线索。",
    ),
    "inside.about.chain": ("What is left after taking away “{what}”.", "减去“{what}”之后剩下的部分。"),
    "inside.about.sfcm": (
        "The Semantic-Aware Fine Control Map: bright where the target may act, dark where the original must be kept.",
        "语义感知精细控制图：亮处允许目标作用，暗处必须保持原样。",
    ),
    "layer.pad": ("padding", "填充"),
    "layer.noise": ("noise difference", "噪声差"),
    "layer.sfcm": ("SFCM", "SFCM"),
    # attributes, as the judges read them
    "attribute.gender": ("gender", "性别"),
    "attribute.age": ("age", "年龄"),
    "attribute.skin": ("skin", "肤色"),
    "attribute.hair_color": ("hair colour", "发色"),
    "attribute.hair_style": ("hair style", "发型"),
    "attribute.expression": ("expression", "表情"),
    "attribute.beard": ("beard", "胡须"),
    "attribute.eyewear": ("eyewear", "眼镜"),
    "attribute.clothing": ("clothing", "服装"),
    "attribute.clothing_color": ("clothing colour", "服装颜色"),
    "attribute.background": ("background", "背景"),
    "attribute.tilt": ("tilt of the head", "头部倾斜"),
    "attribute.freckles": ("freckles", "雀斑"),
    "attribute.hat": ("hat", "帽子"),
    "attribute.necklace": ("necklace", "项链"),
    "attribute.style": ("style", "风格"),
}

LANGUAGES = ("en", "zh")


def translations() -> gr.I18n:
    """The table as Gradio wants it at launch."""
    return gr.I18n(**{code: {key: texts[i] for key, texts in TEXTS.items()} for i, code in enumerate(LANGUAGES)})


def label(key: str):
    """A parameter of a Gradio component that the browser translates."""
    if key not in TEXTS:
        raise KeyError(f"the page has no text {key!r}")
    return _ADDRESS(key)


def both(key: str, **values) -> dict[str, str]:
    """A text in both languages with its values filled in; a value may itself be such a pair."""
    return {
        code: TEXTS[key][i].format(**{name: said(value, code) for name, value in values.items()})
        for i, code in enumerate(LANGUAGES)
    }


def same(text: str) -> dict[str, str]:
    """A text that is not translated (what the user wrote, an error of the library)."""
    return dict.fromkeys(LANGUAGES, text)


def said(value, code: str):
    """A value in one language."""
    return value[code] if isinstance(value, dict) else value


_ADDRESS = gr.I18n(en={})
