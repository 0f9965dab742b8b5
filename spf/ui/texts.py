"""Every word that the page shows, in English and Chinese, in one table.

Gradio's own parameters get `label(key)`, which the browser translates; our components read the table in the browser;
what the server composes is sent in both languages (`both`).
"""

from __future__ import annotations

import gradio as gr

TEXTS: dict[str, tuple[str, str]] = {
    # top line and tabs
    "tagline": (
        "Teach a portrait model one thing. Keep everything else.",
        "只教会肖像模型一件事，其余保持不变。",
    ),
    "scheme": ("Light or dark", "浅色或深色"),
    "tab.compare": ("Compare", "对比"),
    "tab.inside": ("Look inside", "看内部"),
    "tab.finetune": ("Fine-tune", "微调"),
    "tab.results": ("Results", "结果"),
    "tab.vote": ("Blind vote", "盲测投票"),
    "engine.loading": ("loading model", "正在载入模型"),
    "engine.ready": ("model ready", "模型就绪"),
    "engine.failed": ("no model", "没有模型"),
    # compare: inputs
    "examples": ("Examples", "示例"),
    "field.base": ("Base text", "基础文本"),
    "field.base.info": ("the portrait, drawn by the original model", "由原始模型绘制的肖像"),
    "field.target": ("Target text", "目标文本"),
    "field.target.info": ("what should change; several with +", "要改变的内容；多个用 + 连接"),
    "suggestions": ("Ready targets", "现成的目标"),
    "field.mode": ("The target is", "目标文本"),
    "mode.append": ("added", "追加"),
    "mode.replace": ("put in place of words", "替换词语"),
    "field.replace": ("Words to replace", "被替换的词语"),
    "field.replace.info": ("as they stand in the base text", "与基础文本中的写法一致"),
    "field.chain": ("Show every step of the way", "显示每一步"),
    "field.chain.info": (
        "with several targets: one portrait after each, all from the same noise",
        "有多个目标时，每加一个画一张，噪声相同",
    ),
    "field.adapter": ("Tuned model", "微调模型"),
    "adapter.auto": ("Pick from the target", "根据目标自动选择"),
    "adapter.none": ("None: the original model for both", "无：两边都用原始模型"),
    "field.seed": ("Seed", "随机种子"),
    "dice": ("New seed", "换一个种子"),
    "field.steps": ("Steps", "步数"),
    "field.guidance": ("Guidance", "引导强度"),
    "field.guided": ("Stay near the original", "贴近原图"),
    "field.guided.info": (
        "Held: its drawing is kept outside a map, and inside the model is told what it shows",
        "保持：图外保留原图的绘制，图内告知模型原图的内容",
    ),
    "guided.none": ("No: the tuned model draws alone", "否：仅由微调模型绘制"),
    "guided.held": ("Held outside the map, told inside", "图外保持，图内告知"),
    "guided.told": ("Told only, free everywhere", "仅告知，处处自由"),
    "guided.untold": ("Held only, told nothing", "仅保持，不告知"),
    "guided.sfcm": ("Loosely, by the SFCM of each step", "每一步的 SFCM"),
    "generate": ("Generate", "生成"),
    "stop": ("Stop", "停止"),
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
    "word.dropped": (
        "beyond the 77 tokens that the text encoder reads",
        "超出文本编码器的 77 个词元",
    ),
    "chain.label": ("The chain of edits", "连续编辑"),
    "chain.add": ("Add an edit", "再加一项"),
    "chain.placeholder": ("+ sunglasses, blonde hair …", "+ sunglasses、blonde hair……"),
    # progress
    "status.queued": ("Waiting for the model …", "等待模型……"),
    "status.loading": ("Loading the model, once …", "正在载入模型（仅一次）……"),
    "status.step": ("{what}: step {k} of {n}{left}", "{what}：第 {k}/{n} 步{left}"),
    "status.link": ("Edit {k} of {n}. {rest}", "第 {k}/{n} 项编辑。{rest}"),
    "status.judging": ("Reading both portraits …", "正在识别两张肖像……"),
    "status.left": (", about {s} s left", "，约剩 {s} 秒"),
    "status.stopped": (
        "Stopped at step {k} of {n}. Nothing is lost; press Generate to start again.",
        "已在第 {k}/{n} 步停止。没有丢失任何内容，按“生成”重新开始。",
    ),
    "status.stopped.early": ("Stopped before the first step.", "在第一步之前已停止。"),
    "status.done": (
        "Done. There are no judges in checkpoints/, so nothing is said about attributes.",
        "完成。checkpoints/ 中没有评判模型，因此不评价属性。",
    ),
    "status.empty": (
        "Write a base text and a target, then press Generate.",
        "填写基础文本和目标，然后按“生成”。",
    ),
    "error.bug": (
        "Something went wrong on our side. Your texts are kept. Code {code}: the log has the details under it.",
        "程序出错，您的文本仍保留。代码 {code}：日志中有详细信息。",
    ),
    # verdict
    "verdict.there": ("{Target} {verb} there.", "已出现：{target}。"),
    "verdict.missing": ("{Target} {verb} not there.", "未出现：{target}。"),
    "verdict.some": (
        "{Target} {verb} there, but not {missing}.",
        "已出现：{target}；未出现：{missing}。",
    ),
    "verdict.kept": ("All {n} other attributes are unchanged.", "其余 {n} 个属性全部未变。"),
    "verdict.changed": (
        "{same} of {n} other attributes are unchanged; {what} changed.",
        "其余 {n} 个属性中 {same} 个未变；改变的有：{what}。",
    ),
    "verdict.plain": (
        "Nobody taught the judges this target, so they only say what else changed.",
        "评判模型没有学过这个目标，因此只报告其他变化。",
    ),
    "verdict.same_model": (
        "No tuned model is active: both portraits come from the original model.",
        "没有启用微调模型：两张肖像都来自原始模型。",
    ),
    "score.clean": ("target there, nothing else changed", "目标已出现，其余未变"),
    "score.changed": ("target there, {k} of {n} others changed", "目标已出现，{n} 个中变了 {k} 个"),
    "score.missing": (
        "target missing, {k} of {n} others changed",
        "目标未出现，{n} 个中变了 {k} 个",
    ),
    "score.plain": ("{k} of {n} others changed", "{n} 个中变了 {k} 个"),
    "score.base": ("base text", "基础文本"),
    "and": (" and ", "和"),
    "no adapter": ("no tuned model", "无微调模型"),
    # notices
    "notice.unknown": (
        "The model does not know: {words}. It was trained on portraits only and ignores such words.",
        "模型不认识：{words}。它只学过肖像，会忽略这些词。",
    ),
    "notice.dropped": (
        "The text is longer than the encoder reads; these words fall off: {words}.",
        "文本超出编码器长度，这些词被截去：{words}。",
    ),
    "notice.no_adapter": (
        "No tuned model fits this target, so the original model draws the complete text.",
        "没有适合该目标的微调模型，因此由原始模型绘制完整文本。",
    ),
    "notice.few_adapters": (
        "Tuned for this: {names}. The other words are left to the original weights.",
        "只有 {names} 有微调模型；其余词语由原始权重处理。",
    ),
    "notice.told": (
        "Seen in the original by CLIP, and told to the tuned model so that it stays: {words}.",
        "CLIP 在原图中看到并告知微调模型以便保留：{words}。",
    ),
    "notice.quota": (
        "A run reserves at most {s} s of your GPU time on this Space; what it does not need comes back.",
        "每次运行最多预留您在此 Space 的 {s} 秒 GPU 时间；未用部分会退回。",
    ),
    "notice.link": ("The link was not used: {why}", "链接未被采用：{why}"),
    # look inside
    "inside.empty": (
        "Generate a pair or pick an example in Compare; its maps appear here.",
        "在“对比”中生成或选择示例后，这里会显示注意力图。",
    ),
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
    "inside.outline": ("Outline the target's region", "勾出目标区域"),
    "inside.outline.about": (
        "Where the judges, which were taught on exact masks of drawn portraits, see the target in either portrait.",
        "评判模型（由绘制肖像的精确掩码训练）在两张肖像中看到目标的位置。",
    ),
    "inside.gif": ("Save as GIF", "保存为 GIF"),
    "inside.video": ("Save as video (.{kind})", "保存为视频 (.{kind})"),
    "inside.filming": ("frame {k} of {n}", "第 {k}/{n} 帧"),
    "inside.export": ("Download maps (.npz)", "下载图 (.npz)"),
    "inside.chain": ("From the noise difference to the control map", "从噪声差到控制图"),
    "inside.chain.about": (
        "Each base phrase takes its share away, weighted by how far its meaning is from the target. What is left is "
        "the SFCM: where the target may act. Every tile follows the step above.",
        "每个基础短语按其与目标语义的距离减去自己的部分，剩下的就是 SFCM：目标可以起作用的区域。各小图随上方步数变化。",
    ),
    "inside.about.phrase": (
        "Where “{what}” acts: attention of the picture to these words, in either model.",
        "“{what}”作用的位置：两个模型中画面对这些词的注意力。",
    ),
    "inside.about.target": (
        "Where “{what}” acts in the tuned model. The original never reads these words.",
        "“{what}”在微调模型中作用的位置。原始模型没有读到这些词。",
    ),
    "inside.about.pad": (
        "Attention to the padding after the text. It carries the meaning of the whole sentence.",
        "对文本之后填充词元的注意力，它携带整句话的含义。",
    ),
    "inside.about.noise": (
        "Where the two predictions of the noise differ: the first hint at what the target changes.",
        "两个噪声预测的差异：目标改变了哪里的第一线索。",
    ),
    "inside.about.chain": (
        "What is left after taking away “{what}”.",
        "减去“{what}”之后剩下的部分。",
    ),
    "inside.about.sfcm": (
        "The Semantic-Aware Fine Control Map: bright where the target may act, dark where the original must be kept.",
        "语义感知精细控制图：亮处允许目标作用，暗处必须保持原样。",
    ),
    "inside.about.held": (
        "The one map of this drawing: where it is dark, the original's own drawing was kept at every step.",
        "本次绘制所用的固定图：暗处每一步都保留原模型的绘制结果。",
    ),
    "layer.pad": ("padding", "填充"),
    "layer.noise": ("noise difference", "噪声差"),
    "layer.sfcm": ("SFCM", "SFCM"),
    "layer.held": ("held map", "固定控制图"),
    # fine-tune
    "finetune.source": ("Learn from", "学习来源"),
    "source.ready": ("a ready set", "现成图片集"),
    "source.own": ("my pictures", "自己的图片"),
    "own.files": ("Pictures and captions", "图片和说明"),
    "own.target": ("What they all show", "图片的共同点"),
    "own.target.info": (
        "as a text asks for it, for example: a straw hat",
        "用文字描述，例如：a straw hat",
    ),
    "own.replace": ("It takes the place of", "它替换的词语"),
    "own.replace.info": (
        "empty if it is added; for a dress, for example: T-shirt",
        "若是追加则留空；例如裙子可填：T-shirt",
    ),
    "own.check": ("Check the pictures", "检查图片"),
    "own.nothing": (
        "Choose pictures first. Captions: a .txt beside each picture, captions.jsonl, or metadata.csv.",
        "请先选择图片。说明文字可用：每张图片旁的 .txt、captions.jsonl 或 metadata.csv。",
    ),
    "check.read": (
        "{n} of {all} pictures can be used; captions from {names}.",
        "{all} 张中有 {n} 张可用；说明来自 {names}。",
    ),
    "check.few": (
        "{n} usable pictures: at least {low} are needed.",
        "可用图片 {n} 张：至少需要 {low} 张。",
    ),
    "check.many": (
        "{n} usable pictures: at most {high} are taken.",
        "可用图片 {n} 张：最多 {high} 张。",
    ),
    "check.broken": ("{n} cannot be read: {names}", "{n} 张无法读取：{names}"),
    "check.small": (
        "{n} smaller than 64 pixels, left out: {names}",
        "{n} 张小于 64 像素，已跳过：{names}",
    ),
    "check.twice": ("{n} there already, left out: {names}", "{n} 张重复，已跳过：{names}"),
    "check.cut": (
        "{n} not square; their middle is used: {names}",
        "{n} 张不是正方形，取中间部分：{names}",
    ),
    "check.caption": (
        "{n} without a caption, left out: {names}",
        "{n} 张没有说明，已跳过：{names}",
    ),
    "check.replace": (
        "{n} captions lack the words to replace, left out: {names}",
        "{n} 条说明不含被替换的词语，已跳过：{names}",
    ),
    "check.text": (
        "{n} captions are no usable text, left out: {names}",
        "{n} 条说明无法使用，已跳过：{names}",
    ),
    "check.unsaid": (
        "{n} captions do not say the target; it is added: {names}",
        "{n} 条说明未提到目标，已补上：{names}",
    ),
    "check.orphan": ("{n} captions have no picture: {names}", "{n} 条说明没有对应图片：{names}"),
    "check.unknown": (
        "{n} words the model does not know: {names}",
        "模型不认识的词 {n} 个：{names}",
    ),
    "check.alike": (
        "Every caption is the same, “{names}”: say what differs, or the differences are learnt as part of the target.",
        "所有说明都相同：“{names}”。请写出差异，否则差异会被当作目标学会。",
    ),
    "set.bias": (
        "All of these also share what no caption says: {shared}. Naive tuning learns that too.",
        "这些图还有说明中没有提到的共同点：{shared}。普通微调会一并学会。",
    ),
    "check.more": ("and {n} more", "另有 {n} 张"),
    "finetune.more": ("More settings", "更多设置"),
    "finetune.rate": ("Learning rate", "学习率"),
    "finetune.rate.info": ("empty: the method's own", "留空则用方法默认值"),
    "finetune.set": ("Other settings of the method", "方法的其他设置"),
    "finetune.set.info": (
        "KEY=VALUE, one a line, as on the command line",
        "KEY=VALUE，每行一个，与命令行相同",
    ),
    "finetune.pause": ("Pause", "暂停"),
    "finetune.lora": ("LoRA for other programs", "供其他软件用的 LoRA"),
    "method.lora": ("LoRA", "LoRA"),
    "method.adalora": ("AdaLoRA", "AdaLoRA"),
    "method.tokencompose": ("TokenCompose", "TokenCompose"),
    "method.purecc": ("PureCC", "PureCC"),
    "phase.pausing": ("pausing", "暂停中"),
    "phase.paused": ("paused", "已暂停"),
    "job.pausing": ("Pausing after this step …", "将在本步后暂停……"),
    "job.paused": (
        "Paused at step {k} of {n}. Resume goes on at once; Stop gives the memory back and keeps the state.",
        "已在第 {k}/{n} 步暂停。可立即继续；停止会释放内存并保留状态。",
    ),
    "job.measured.plain": ("Attributes changed: {pollution}%.", "属性改变：{pollution}%。"),
    "finetune.data": ("Teach", "教会"),
    "finetune.data.info": (
        "each has its own tailored, and biased, set of drawn portraits",
        "每个目标都有专门的（有偏的）绘制肖像集",
    ),
    "finetune.method": ("Method", "方法"),
    "method.spf": ("SPF", "SPF"),
    "method.naive": ("naive", "普通微调"),
    "finetune.parts": (
        "Parts of SPF; leave one out to see what it does",
        "SPF 的组成部分；去掉一个看看它的作用",
    ),
    "part.text_consistent": ("text-consistent loss", "文本一致损失"),
    "part.fine_grained": ("fine-grained loss", "细粒度损失"),
    "part.control": ("SFCM weighting", "SFCM 加权"),
    "part.enhanced": ("response enhancement", "响应增强"),
    "part.output": ("output alignment (ours)", "输出对齐（本项目）"),
    "part.keep": ("base-text retention (ours)", "基础文本保持（本项目）"),
    "part.seen": ("captions completed by CLIP (ours)", "用 CLIP 补全描述（本项目）"),
    "finetune.preset": ("How long", "时长"),
    "preset.taste": (
        "a taste: 48 pictures, under three minutes on a processor",
        "体验：48 张图，处理器上不到三分钟",
    ),
    "preset.standard": ("standard: all pictures", "标准：全部图片"),
    "finetune.steps": ("Training steps", "训练步数"),
    "finetune.start": ("Start", "开始"),
    "finetune.stop": ("Stop", "停止"),
    "finetune.resume": ("Resume", "继续"),
    "finetune.use": ("Try it in Compare", "在“对比”中试用"),
    "finetune.download": ("Download (.safetensors)", "下载 (.safetensors)"),
    "notice.space": (
        "Fine-tuning is off on this shared page. Run the app on your own machine or duplicate the Space.",
        "共享页面上不能微调。请在自己的机器上运行，或复制该 Space。",
    ),
    "phase.starting": ("starting", "启动中"),
    "phase.running": ("running", "进行中"),
    "phase.stopping": ("stopping", "停止中"),
    "phase.stopped": ("stopped", "已停止"),
    "phase.done": ("done", "完成"),
    "phase.failed": ("failed", "失败"),
    "job.none": (
        "Choose what to teach and press Start. The job goes on when this tab is closed.",
        "选择要教的内容并按“开始”。关闭页面后任务仍会继续。",
    ),
    "job.starting": (
        "Loading the model and drawing the tailored set …",
        "正在载入模型并绘制数据集……",
    ),
    "job.running": ("Step {k} of {n}{left}", "第 {k}/{n} 步{left}"),
    "job.stopping": ("Stopping after step {k} …", "将在第 {k} 步后停止……"),
    "job.stopped": (
        "Stopped by you at step {k} of {n}. Resume goes on from there.",
        "已由您在第 {k}/{n} 步停止，可从此处继续。",
    ),
    "job.done": (
        "Done: {n} steps. The tuned model can be chosen in Compare.",
        "完成：{n} 步。可在“对比”中选择该微调模型。",
    ),
    "job.failed": ("Failed at step {k} of {n}. {why}", "在第 {k}/{n} 步失败。{why}"),
    "job.sitters": (
        "Four sitters: original, now, and where the target acts (SFCM)",
        "四位人物：原始、现在、目标作用的位置（SFCM）",
    ),
    "job.now": ("Now", "现在"),
    "job.losses": ("Losses, each on its own scale", "损失（各自缩放）"),
    "job.look": ("after step {k}", "第 {k} 步后"),
    "job.measured": (
        "Target there: {response}%. Other attributes changed: {pollution}%.",
        "目标出现：{response}%。其他属性改变：{pollution}%。",
    ),
    "job.log": ("Last lines of the log", "日志末尾"),
    # results
    "results.empty": (
        "No evaluation has been run here yet. This command makes one, and the table appears:",
        "这里还没有评测结果。运行下面的命令后，表格会出现：",
    ),
    "results.which": ("Which results", "选择结果"),
    "results.refresh": ("Look again", "刷新"),
    "results.csv": ("Download (.csv)", "下载 (.csv)"),
    "results.columns": ("All measures", "全部指标"),
    "results.target": ("Target", "目标"),
    "results.method": ("Method", "方法"),
    "results.all": ("all targets", "所有目标"),
    "results.about": (
        "{prompts} held-out base texts with {seeds} noises each, split “{split}”, {steps} steps, model {model}.",
        "{prompts} 条未见过的基础文本，每条 {seeds} 个噪声；划分“{split}”，{steps} 步，模型 {model}。",
    ),
    "results.hint": (
        "The small numbers span 95%. Press a column's name to sort, a number to see portraits behind it.",
        "小字为 95% 区间。点列名排序，点数字查看对应的肖像。",
    ),
    "results.plane": ("Response against pollution", "响应与污染"),
    "results.plane.about": (
        "The aim is the top left corner: the target is there and nothing else moved. Rings are single targets.",
        "目标是左上角：目标出现且其余不变。圆环为单个目标。",
    ),
    "results.curves": ("over training steps", "随训练步数变化"),
    "measure.response": ("share of portraits that show the target", "出现目标的肖像比例"),
    "measure.pollution": ("share of the other attributes that changed", "其他属性中被改变的比例"),
    "measure.purity": (
        "response and 1 - pollution in one number, their harmonic mean",
        "响应与 1 - 污染的调和平均",
    ),
    "measure.retention": (
        "attributes unchanged when the tuned model draws the base text alone",
        "微调模型只画基础文本时不变的属性比例",
    ),
    "measure.identity": ("how alike the faces are, as a cosine", "两张脸的相似度（余弦）"),
    "pairs.order": ("Order", "顺序"),
    "pairs.worst": ("Worst first", "最差在前"),
    "pairs.best": ("Best first", "最好在前"),
    "pairs.drawn": ("As measured", "按测量顺序"),
    "pairs.more": ("More pairs", "更多"),
    "pairs.halted": ("Stopped.", "已停止。"),
    "pairs.open": ("Open in Compare", "在“对比”中打开"),
    "pairs.drawing": ("Drawing pair {k} of {n} again{left} …", "正在重画第 {k}/{n} 对{left}……"),
    "pairs.shown": ("Pairs {a} to {b} of {n}.", "第 {a} 至 {b} 对，共 {n} 对。"),
    "pairs.none": (
        "The texts behind this number are not known here, so its portraits cannot be drawn.",
        "此处没有该数字对应的文本，无法重画。",
    ),
    "pairs.edit": (
        "“{name}” also acts while a portrait is drawn; the evaluation did not keep its pictures here.",
        "“{name}”在绘制过程中也起作用；此处没有保存其图片。",
    ),
    "pairs.adapter": (
        "The weights “{name}” are not on this machine, so these portraits cannot be drawn again.",
        "本机没有权重“{name}”，无法重画这些肖像。",
    ),
    # blind vote
    "vote.title": ("Which one would you take?", "您会选哪一张？"),
    "vote.about": (
        "You see an original and two portraits that were asked for the same change, by two methods without their names. "
        "Answer three questions; then the names are told. Votes stay on this machine.",
        "您会看到原始肖像，以及由两种方法（不显示名称）按同一要求改出的两张。回答三个问题后揭晓方法。投票只保存在本机。",
    ),
    "vote.begin": ("Show me a pair", "给我看一对"),
    "vote.see": ("See the votes so far", "查看目前的投票"),
    "vote.next": ("Next pair", "下一对"),
    "vote.asked": ("Asked for", "要求"),
    "vote.left": ("Left", "左"),
    "vote.right": ("Right", "右"),
    "vote.same": ("No difference", "没有差别"),
    "vote.keeps": ("Which keeps the original better?", "哪一张更好地保持了原样？"),
    "vote.shows": ("Which shows “{target}” better?", "哪一张更好地体现了“{target}”？"),
    "vote.nicer": ("Which is the nicer portrait?", "哪一张更好看？"),
    "vote.short.keeps": ("Keeps the original", "保持原样"),
    "vote.short.shows": ("Shows the target", "体现目标"),
    "vote.short.nicer": ("Nicer", "更好看"),
    "vote.send": ("Vote", "投票"),
    "vote.thanks": ("Thank you. This is who drew them.", "谢谢！揭晓如下。"),
    "vote.lost": ("This pair has expired; nothing was counted.", "这一对已过期，未计票。"),
    "vote.over": (
        "There is no other pair to vote on: it takes a target with the weights of two methods.",
        "没有更多可投票的肖像：需要某个目标有两种方法的权重。",
    ),
    "vote.drawing": ("Drawing a new pair …", "正在画新的一对……"),
    "vote.nobody": ("No votes yet.", "还没有投票。"),
    "vote.tally": ("Pairs voted on: {n}", "已投票：{n} 对"),
    "vote.tally.about": (
        "Share of decided votes that each method won; the band is Wilson's 95% interval.",
        "各方法在有结论的投票中的胜率；色带为 Wilson 95% 区间。",
    ),
    "vote.undecided": ("undecided", "未决"),
    "vote.counts": ("{won} won, {lost} lost, {same} equal", "胜 {won}，负 {lost}，平 {same}"),
    # tour
    "tab.tour": ("Tour", "导览"),
    "tour.back": ("Back", "上一步"),
    "tour.next": ("Next", "下一步"),
    "tour.finish": ("Try it yourself", "自己试试"),
    "tour.count": ("Step {k} of {n}", "第 {k}/{n} 步"),
    "tour.none": (
        "The tour needs a stored example; python -m spf examples draws them.",
        "导览需要已存储的示例；运行 python -m spf examples 生成。",
    ),
    "tour.1.title": ("A model that draws portraits", "一个会画肖像的模型"),
    "tour.1": (
        "It read “{text}” and drew this person from random noise. The same noise gives the same person again.",
        "它读到“{text}”，从随机噪声画出此人。同样的噪声会再次画出同一个人。",
    ),
    "tour.2.title": ("Teach it {target}", "教它画 {target}"),
    "tour.2": (
        "One collects pictures that show {target} and trains on them. Look at what else they have in common: such sets "
        "are never balanced, and their captions do not say so.",
        "收集带有 {target} 的图片来训练。看看它们还有什么共同点：这类图片集从不均衡，而文字说明并不会提到。",
    ),
    "tour.3.title": ("Semantic pollution", "语义污染"),
    "tour.3": (
        "Plain training learns everything the set has in common. Ask for {target} and, from the same noise, much else "
        "changes as well, though nobody asked for it.",
        "普通训练会学到图片集的所有共同点。只要求 {target}，同样的噪声下许多别的东西也变了，却没有人要求。",
    ),
    "tour.4.title": ("Hold everything but the target", "除目标之外全部保持"),
    "tour.4": (
        "SPF runs the untouched model beside the one in training. A map tells where the target may act: bright is "
        "free, dark is held to the original.",
        "SPF 在训练时让原始模型并行运行。控制图指出目标可以作用的位置：亮处自由，暗处与原始保持一致。",
    ),
    "tour.5.title": ("The result", "结果"),
    "tour.5": (
        "{verdict} Left the original, then SPF, then plain training. Now change the texts yourself.",
        "{verdict}左起：原始、SPF、普通微调。现在请自己修改文本。",
    ),
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
    return gr.I18n(
        **{
            code: {key: texts[i] for key, texts in TEXTS.items()}
            for i, code in enumerate(LANGUAGES)
        }
    )


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
