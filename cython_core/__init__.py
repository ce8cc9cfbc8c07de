"""agrad.cython_core: the compiled engine. It knows no array library and no rule."""
