"""Small programs that PyTorch and agrad must run alike: functions of the library, by the name `torch`, and of a log.

A program tells the log what it sees; nothing here says what that should be. `test_differential_torch.py` compares.
"""
