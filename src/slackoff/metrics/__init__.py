"""How much rain was removed, what it cost the background, and the usual image quality figures.

`functional` and `fidelity` are the maths, `classes` sums them up over processes, `protocol` fixes the choices
and `columns` says what each figure means. Import the module you need: `columns` stays usable without torch.
"""
