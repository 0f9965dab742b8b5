"""Base models: what a name stands for, and whether it can be used, before any of its weights is
read or fetched.

A name is "embedded", one of `pinned`, the full id of a hub repository (owner/name or
owner/name@revision), a folder in the layout of a diffusers StableDiffusionPipeline, or a single
.safetensors checkpoint of SD 1.x or 2.x. `finding` says which, `hub` downloads, `checks` refuses in
one sentence. Only safetensors are read, no remote code is run, and licence and size are told before
anything is downloaded.
"""
