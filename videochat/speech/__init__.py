"""What the streamer says: audio of recordings, speech recognition, transcript files."""
