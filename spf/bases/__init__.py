"""Base models: what a name stands for, whether it can be used, and how it is read.

A name is "embedded", one of `pinned`, the full id of a hub repository (owner/name or
owner/name@revision), a folder in the layout of a diffusers StableDiffusionPipeline, or a single
.safetensors checkpoint of SD 1.x or 2.x. `finding` says which, `hub` downloads, `checks` refuses in
one sentence before any of the weights is read or fetched, `reading` makes one `spf.models.Base` of
it. Only safetensors are read, no remote code is run, and licence and size are told before anything
is downloaded.
"""
