"""``make smoke``: ten small images through everything that is deployed, and what that proves.

``images`` makes them, ``services`` finds the page and the uploads, ``sending`` brings the images
in, ``evidence`` collects what AWS says afterwards, and ``verdicts`` judges it.
"""
