"""Where per-recording work runs: `local` (processes of this machine)."""
