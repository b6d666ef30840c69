"""Small published nets for tables, texts and patches, as their authors write them."""

import math

import torch
import torch.nn.functional as F
from torch import nn

__all__ = [
    "Autoencoder",
    "FTTransformer",
    "LstmClassifier",
    "MlpMixer",
    "SkorchClassifier",
    "SkorchRegressor",
    "TabResNet",
    "TextCnn",
    "TransformerClassifier",
    "Vit",
]

N_CLASSES, N_COLUMNS, N_WORDS, LENGTH = 3, 20, 30, 12


class SkorchClassifier(nn.Module):
    """skorch, README.rst: MyModule."""

    def __init__(self, num_units=10, nonlin=nn.ReLU()):  # noqa: B008 - as there
        super().__init__()
        self.dense0 = nn.Linear(N_COLUMNS, num_units)
        self.nonlin = nonlin
        self.dropout = nn.Dropout(0.5)
        self.dense1 = nn.Linear(num_units, num_units)
        self.output = nn.Linear(num_units, N_CLASSES)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, X, **kwargs):
        X = self.nonlin(self.dense0(X))
        X = self.dropout(X)
        X = self.nonlin(self.dense1(X))
        return self.softmax(self.output(X))


class SkorchRegressor(nn.Module):
    """skorch, notebooks/Basic_Usage.ipynb: RegressorModule."""

    def __init__(self, num_units=10, nonlin=F.relu):
        super().__init__()
        self.num_units = num_units
        self.nonlin = nonlin
        self.dense0 = nn.Linear(N_COLUMNS, num_units)
        self.dense1 = nn.Linear(num_units, 10)
        self.output = nn.Linear(10, 1)

    def forward(self, X, **kwargs):
        X = self.nonlin(self.dense0(X))
        X = F.relu(self.dense1(X))
        return self.output(X)


class TextCnn(nn.Module):
    """Kim 2014, "Convolutional neural networks for sentence classification"."""

    def __init__(self, dim=8, n_filters=6, filter_sizes=(3, 4, 5), dropout=0.5):
        super().__init__()
        self.embedding = nn.Embedding(N_WORDS, dim)
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(in_channels=1, out_channels=n_filters, kernel_size=(size, dim))
                for size in filter_sizes
            ]
        )
        self.fc = nn.Linear(len(filter_sizes) * n_filters, N_CLASSES)
        self.dropout = nn.Dropout(dropout)

    def forward(self, text):
        embedded = self.embedding(text).unsqueeze(1)
        conved = [F.relu(conv(embedded)).squeeze(3) for conv in self.convs]
        pooled = [F.max_pool1d(conv, conv.shape[2]).squeeze(2) for conv in conved]
        return self.fc(self.dropout(torch.cat(pooled, dim=1)))


class LstmClassifier(nn.Module):
    """bentrevett/pytorch-sentiment-analysis: embedding, LSTM, last hidden state."""

    def __init__(self, dim=8, hidden=10, dropout=0.5, kind=nn.LSTM):
        super().__init__()
        self.embedding = nn.Embedding(N_WORDS, dim, padding_idx=0)
        self.rnn = kind(dim, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, N_CLASSES)
        self.dropout = nn.Dropout(dropout)

    def forward(self, text):
        embedded = self.dropout(self.embedding(text))
        output, _ = self.rnn(embedded)
        return self.fc(self.dropout(output[:, -1]))


class PositionalEncoding(nn.Module):
    """PyTorch, tutorial "Language modeling with nn.Transformer", batch first."""

    def __init__(self, d_model, dropout=0.1, max_len=100):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(1, max_len, d_model)
        pe[0, :, 0::2] = torch.sin(position * div_term)
        pe[0, :, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return self.dropout(x + self.pe[:, : x.size(1)])


class TransformerClassifier(nn.Module):
    """That tutorial's encoder with a padding mask and a mean over the words that are there."""

    def __init__(self, d_model=8, nhead=2, d_hid=16, nlayers=2, dropout=0.1):
        super().__init__()
        self.d_model = d_model
        self.embedding = nn.Embedding(N_WORDS, d_model, padding_idx=0)
        self.pos_encoder = PositionalEncoding(d_model, dropout)
        layer = nn.TransformerEncoderLayer(d_model, nhead, d_hid, dropout, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(layer, nlayers)
        self.linear = nn.Linear(d_model, N_CLASSES)

    def forward(self, src):
        padding = src == 0
        x = self.pos_encoder(self.embedding(src) * math.sqrt(self.d_model))
        x = self.transformer_encoder(x, src_key_padding_mask=padding)
        there = (~padding).unsqueeze(-1).float()
        return self.linear((x * there).sum(1) / there.sum(1).clamp(min=1))


class Attention(nn.Module):
    """Of `Vit`."""

    def __init__(self, dim, heads=2, dim_head=8, dropout=0.1):
        super().__init__()
        self.heads, self.scale = heads, dim_head**-0.5
        self.norm = nn.LayerNorm(dim)
        self.attend = nn.Softmax(dim=-1)
        self.dropout = nn.Dropout(dropout)
        self.to_qkv = nn.Linear(dim, heads * dim_head * 3, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def forward(self, x):
        b, n, _ = x.shape
        qkv = self.to_qkv(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (t.view(b, n, self.heads, -1).transpose(1, 2) for t in qkv)
        attn = self.dropout(self.attend(torch.matmul(q, k.transpose(-1, -2)) * self.scale))
        out = torch.matmul(attn, v).transpose(1, 2).reshape(b, n, -1)
        return self.to_out(out)


class Vit(nn.Module):
    """lucidrains/vit-pytorch, vit.py (Dosovitskiy et al. 2021), in torch's own reshapes."""

    def __init__(self, image=32, patch=8, dim=16, depth=2, mlp_dim=32, dropout=0.1):
        super().__init__()
        self.patch = patch
        n, size = (image // patch) ** 2, 3 * patch**2
        self.to_patch = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, dim), nn.LayerNorm(dim))
        self.pos_embedding = nn.Parameter(torch.randn(1, n + 1, dim))
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            [
                nn.ModuleList(
                    [
                        Attention(dim, dropout=dropout),
                        nn.Sequential(
                            nn.LayerNorm(dim),
                            nn.Linear(dim, mlp_dim),
                            nn.GELU(),
                            nn.Dropout(dropout),
                            nn.Linear(mlp_dim, dim),
                            nn.Dropout(dropout),
                        ),
                    ]
                )
                for _ in range(depth)
            ]
        )
        self.norm, self.mlp_head = nn.LayerNorm(dim), nn.Linear(dim, N_CLASSES)

    def forward(self, img):
        p = self.patch
        x = img.unfold(2, p, p).unfold(3, p, p)
        x = x.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
        x = self.to_patch(x)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = self.dropout(x + self.pos_embedding[:, : x.shape[1]])
        for attn, ff in self.layers:
            x = attn(x) + x
            x = ff(x) + x
        return self.mlp_head(self.norm(x)[:, 0])


class MixerBlock(nn.Module):
    """Of `MlpMixer`."""

    def __init__(self, n_tokens, dim, tokens_dim, channels_dim):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.tokens = nn.Sequential(
            nn.Linear(n_tokens, tokens_dim), nn.GELU(), nn.Linear(tokens_dim, n_tokens)
        )
        self.channels = nn.Sequential(
            nn.Linear(dim, channels_dim), nn.GELU(), nn.Linear(channels_dim, dim)
        )

    def forward(self, x):
        y = self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + y
        return x + self.channels(self.norm2(x))


class MlpMixer(nn.Module):
    """Tolstikhin et al. 2021, "MLP-Mixer", appendix E, in PyTorch."""

    def __init__(self, image=32, patch=8, dim=16, depth=2):
        super().__init__()
        self.stem = nn.Conv2d(3, dim, kernel_size=patch, stride=patch)
        blocks = [MixerBlock((image // patch) ** 2, dim, 16, 32) for _ in range(depth)]
        self.mixer = nn.Sequential(*blocks)
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, N_CLASSES)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = self.norm(self.mixer(x))
        return self.head(x.mean(dim=1))


class TabResNet(nn.Module):
    """Gorishniy et al. 2021, "Revisiting deep learning models for tabular data": ResNet."""

    def __init__(self, d=16, d_hidden=32, n_layers=2, hidden_dropout=0.2, residual_dropout=0.1):
        super().__init__()
        self.hidden_dropout, self.residual_dropout = hidden_dropout, residual_dropout
        self.first_layer = nn.Linear(N_COLUMNS, d)
        self.layers = nn.ModuleList(
            [
                nn.ModuleDict(
                    {
                        "norm": nn.BatchNorm1d(d),
                        "linear0": nn.Linear(d, d_hidden),
                        "linear1": nn.Linear(d_hidden, d),
                    }
                )
                for _ in range(n_layers)
            ]
        )
        self.last_normalization = nn.BatchNorm1d(d)
        self.head = nn.Linear(d, N_CLASSES)

    def forward(self, x):
        x = self.first_layer(x)
        for layer in self.layers:
            z = F.relu(layer["linear0"](layer["norm"](x)))
            z = F.dropout(z, self.hidden_dropout, self.training)
            z = F.dropout(layer["linear1"](z), self.residual_dropout, self.training)
            x = x + z
        return self.head(F.relu(self.last_normalization(x)))


class FTTransformer(nn.Module):
    """The same paper's FT-Transformer: a token a column, and one for the class."""

    def __init__(self, d=8, heads=2, n_layers=2):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(N_COLUMNS, d))
        self.bias = nn.Parameter(torch.empty(N_COLUMNS, d))
        self.cls = nn.Parameter(torch.empty(d))
        for parameter in (self.weight, self.bias, self.cls):
            nn.init.uniform_(parameter, -(d**-0.5), d**-0.5)
        layer = nn.TransformerEncoderLayer(
            d, heads, 2 * d, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, N_CLASSES)

    def forward(self, x):
        tokens = x[..., None] * self.weight + self.bias
        cls = self.cls.expand(len(x), 1, -1)
        x = self.encoder(torch.cat([cls, tokens], dim=1))
        return self.head(F.relu(self.norm(x[:, 0])))


class Autoencoder(nn.Module):
    """Hinton and Salakhutdinov 2006, "Reducing the dimensionality of data", with ReLU."""

    def __init__(self, num_units=5):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(N_COLUMNS, 12), nn.ReLU(True), nn.Linear(12, num_units)
        )
        self.decode = nn.Sequential(
            nn.Linear(num_units, 12), nn.ReLU(True), nn.Linear(12, N_COLUMNS)
        )

    def forward(self, X):
        return self.decode(self.encode(X))
