"""The questions of the paper as experiments: variants of one model, several seeds, paired differences, one page each.

    EXPERIMENTS["pooling"].variants       # what is trained
    result = conclude(EXPERIMENTS["pooling"], runs)
    write_page(folder, result)

`videochat experiment pooling` trains the variants and calls this. Where an experiment needs what the data do not hold
(transcripts, a simulated world with a dial), it says so.
"""
