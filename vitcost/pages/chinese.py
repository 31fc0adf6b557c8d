"""The text around formulas in Chinese: quantities, letters, terms, columns and references.

Names of modules, quantities and papers are not translated, nor is a word without a row.
"""

import re
from collections.abc import Mapping

from vitcost.page import Page, Row, Table, Value

__all__ = ["in_chinese"]

# the unit of each quantity, and the source of its formula
_QUANTITIES: Mapping[str, tuple[str, str]] = {
    "params": ("参数量", "m = 4h 的一个块是 12h² + 13h：Narayanan et al. 2021，arXiv 2104.04473，5.1 节；"
               "图像块、词元和分类头：Dosovitskiy et al. 2021，arXiv 2010.11929，第 3 节"),
    "torchsummary_params": ("torchsummary 数到的参数量",
                            "torchsummary 1.5.1，2018：它的钩子挂在层上，数不到不属于任何层的参数"),
    "tokens": ("词元数", "每个图像块一个词元，加上前面的词元：Dosovitskiy et al. 2021，arXiv 2010.11929，3.1 节"),
    "macs": ("前向的乘加次数（MACs）",
             "FLOPs 的一半；m = 4h 的一个块是 12bsh² + 2bs²h：Narayanan et al. 2021，arXiv 2104.04473，附录"),
    "flops": ("前向的计算量（FLOPs）",
              "一次乘加是 2 FLOPs；m = 4h 的一个块是 24bsh² + 4bs²h：Narayanan et al. 2021，arXiv 2104.04473，附录"),
    "flops_executed": ("前向实际执行的计算量", "定义中的 FLOPs，加上注意力核多算一遍的乘积"),
    "backward_flops": ("反向的计算量",
                       "前向的两倍（Narayanan et al. 2021，arXiv 2104.04473，附录），图像块嵌入只有一倍：图像不需要梯度"),
    "train_flops": ("前向加反向的计算量",
                    "反向是前向的两倍（Narayanan et al. 2021，arXiv 2104.04473，附录），图像块嵌入只有一倍：图像不需要梯度"),
    "train_flops_executed": ("前向加反向实际执行的计算量",
                             "定义中的 FLOPs，加上重计算：融合注意力的反向（Dao et al. 2022，arXiv 2205.14135）和"
                             "设了检查点的块（Chen et al. 2016，arXiv 1604.06174）"),
    "pointwise": ("前向写出的元素个数（逐元素运算）",
                  "归一化、softmax、激活函数、缩放和残差相加每写出一个元素算一次，不计入 FLOPs"),
    "attention_flops": ("注意力的前向计算量",
                        "每个块：qkv 6bsh²，分数 2bs²h，加权和 2bs²h，输出 2bsh²：Narayanan et al. 2021，"
                        "arXiv 2104.04473，附录"),
    "mlp_flops": ("MLP 的前向计算量",
                  "m = 4h 的一个块是 16bsh²：Narayanan et al. 2021，arXiv 2104.04473，附录"),
    "bytes_moved": ("前向读写的字节数（访存量）",
                    "每个算子读写的一切，包括参数，不计缓存：Williams et al. 2009，doi 10.1145/1498765.1498785"),
    "inference_memory": ("推理时张量显存占用的峰值（字节）",
                         "权重、调用者的一批输入，和逐个算子的存活张量：写出时产生，最后一次读取后释放（torch 2.13）"),
    "activations": ("推理时同时存活的激活值（字节）",
                    "逐个算子的存活张量：写出时产生，最后一次读取后释放（torch 2.13）"),
    "weights": ("训练时权重的字节数",
                "每个训练的参数都有：Rajbhandari et al. 2020，arXiv 1910.02054，3.1 节；每项字节数按配方和 torch.optim"),
    "gradients": ("梯度的字节数",
                  "每个训练的参数都有：Rajbhandari et al. 2020，arXiv 1910.02054，3.1 节；每项字节数按配方和 torch.optim"),
    "optimizer_states": ("优化器状态的字节数",
                         "每个训练的参数都有：Rajbhandari et al. 2020，arXiv 1910.02054，3.1 节；每项字节数按配方和 torch.optim"),
    "saved_activations": ("为反向传播保存的激活值（字节）",
                          "每个算子保存什么见 torch 的 derivatives.yaml；半精度、非融合、无 dropout 时一个块是 "
                          "32sbh + 2as²b：Korthikanti et al. 2022，arXiv 2205.05198，公式 1"),
    "train_memory": ("一步训练中张量显存占用的峰值（字节）",
                     "逐个算子的存活张量，包括反向（torch 2.13）；保存的激活值：Korthikanti et al. 2022，arXiv 2205.05198"),
    "rule_of_thumb_inference": ("半精度权重的字节数（经验法则）",
                                "每个参数 2 字节，不含激活值：Rajbhandari et al. 2020，arXiv 1910.02054，第 3 节"),
    "rule_of_thumb_training": ("AdamW 混合精度训练的模型状态字节数（经验法则）",
                               "每个参数 20 字节：权重 2 + 4，梯度 2 + 4，动量 4 + 4，不含激活值；Megatron Core，"
                               "distributed optimizer 指南"),
    "complexity": ("主导项：每层的运算、顺序操作数、最长路径", "Vaswani et al. 2017，arXiv 1706.03762，表 1"),
}  # fmt: skip
_WORDS: Mapping[str, str] = {
    # tables and columns
    "Terms": "各项", "Letters": "字母", "term": "项", "formula": "公式", "with numbers": "代入数值",
    "value": "值", "letter": "字母", "meaning": "含义",
    # letters
    "parameters": "参数量", "depth": "层数（块数）", "batch": "批大小", "classes": "类别数",
    "vocabulary": "词表大小", "positions": "位置数", "width of the projection": "投影宽度",
    "width of a convolution's kernel": "卷积核宽度", "attention heads": "注意力头数", "patches": "图像块数",
    "register tokens": "寄存器词元数", "tokens without registers": "不含寄存器的词元数",
    "patches that the blocks see": "块所见的图像块数", "tokens": "词元数", "image channels": "图像通道数",
    "height of the image": "图像高度", "width of the image": "图像宽度", "side of a patch": "图像块边长",
    "height of a patch": "图像块高度", "width of a patch": "图像块宽度", "width": "宽度（嵌入维度）",
    "width of the MLP": "MLP 宽度", "width of the representation layer": "表示层宽度",
    "width of a head": "每个头的宽度", "half the width of a head": "每个头宽度的一半",
    "a quarter of the width of a head": "每个头宽度的四分之一",
    "entries of a table of relative positions": "相对位置表的条目数",
    "neighbours that restricted attention sees": "受限注意力所见的邻居数",
    # terms
    "activations": "激活值", "weights": "权重", "gradients": "梯度", "optimizer": "优化器状态",
    "saved activations": "保存的激活值", "temporary": "临时张量", "input": "输入", "loss": "损失",
    "buffers": "缓冲区", "model": "模型自身", "model and loss": "模型自身和损失",
    "attn products": "attn 的两个乘积", "tokens before them": "图像块之前的词元",
    "half weights": "半精度权重", "full weights": "全精度权重", "half gradients": "半精度梯度",
    "full gradients": "全精度梯度", "first moments": "一阶动量", "second moments": "二阶动量",
}  # fmt: skip
# notes on former names of quantities
_NOTES: Mapping[str, str] = {
    "peak-memory is called train_memory": "peak-memory 现在叫 train_memory",
    "training-memory is called rule_of_thumb_training; the peak of a step is train_memory": (
        "training-memory 现在叫 rule_of_thumb_training；一步训练的峰值是 train_memory"
    ),
    "the rule of thumb, 2 bytes a parameter, is called rule_of_thumb_inference": (
        "每个参数 2 字节的经验法则叫 rule_of_thumb_inference"
    ),
}
# words of which terms are made: the comparison of layers has two in a term, and a scenario is
# described by several
_PARTS: Mapping[str, str] = {
    "restricted self-attention": "受限自注意力", "self-attention": "自注意力", "recurrent": "循环层",
    "convolutional": "卷积层", "work": "每层运算", "sequential": "顺序操作数", "path": "最长路径",
    "attention": "注意力核", "optimizer step": "优化器更新", "optimizer": "优化器", "forward of": "前向",
    "backward of": "反向", "filled up to a multiple of": "补齐到倍数", "of the text": "文本侧",
    "size of axis": "轴的大小", "one image, which runs otherwise than a batch": "单张图像的执行与一批不同",
}  # fmt: skip
_PART = re.compile("|".join(sorted(map(re.escape, _PARTS), key=len, reverse=True)))


def in_chinese(page: Page, quantity: str, model: str, unit: str) -> Page:
    """The page of an explanation with Chinese text; ``unit`` says what its number counts.

    >>> in_chinese(Page("params of m"), "params", "m", "parameters").title
    'm 的参数量（params）'
    """
    title, reference = _QUANTITIES.get(quantity, (quantity, ""))
    # in such a unit the scenario follows the words
    scenario = unit.partition(", ")[2] if unit.startswith(_COUNTED) else ""
    lead = title + (f"：{_parts(scenario)}" if scenario else "")
    notes = [
        f"出处：{reference}" if reference and note.startswith("reference: ") else note
        for note in page.notes
    ]
    return page._replace(
        title=f"{model} 的{title}（{quantity}）",
        lead=(lead,),
        tables=tuple(map(_table, page.tables)),
        notes=tuple(_NOTES.get(note, note.replace("reference: ", "出处：", 1)) for note in notes),
        answer=tuple(map(_parts, page.answer)),
    )


# beginnings of units that a scenario follows
_COUNTED = ("FLOPs that", "bytes")


def _table(table: Table) -> Table:
    columns = tuple(c._replace(title=_word(c.title)) for c in table.columns)
    texts = [column.unit == "text" for column in table.columns]
    rows = tuple(_row(row, texts) for row in table.rows)
    return table._replace(title=_word(table.title), columns=columns, rows=rows)


def _row(row: Row, texts: list[bool]) -> Row:
    cells: list[Value] = [
        _word(cell) if is_text and isinstance(cell, str) else cell
        for cell, is_text in zip(row.cells, texts, strict=True)
    ]
    return row._replace(cells=tuple(cells))


def _word(text: str) -> str:
    """A word translated by its row, or else part by part; the name of a module stays as it is."""
    first, comma, rest = text.partition(", ")
    if text in _WORDS:
        return _WORDS[text]
    if comma and first in _WORDS:
        return f"{_WORDS[first]}，{_parts(rest)}"
    return _parts(text) if comma or " " in text else text


def _parts(text: str) -> str:
    return _PART.sub(lambda part: _PARTS[part[0]], text)
