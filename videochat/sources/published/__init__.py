"""Data sets of others as recordings of this workspace: LiveChat/VideoChat, LiveBot, VideoIC.

Each form is one file that reads their JSON into `Stream`s; importing.py makes raw/ recordings of them. None of these
data sets comes with the package, and their licences are theirs.
"""
