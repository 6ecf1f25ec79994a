"""The one exception a person causes and can cure."""


class SlackoffError(Exception):
    """A mistake in a config, a folder or a file: one sentence that names it and says the cure.

    The command line prints the sentence without a traceback; anything else that is raised is a defect of slackoff.
    """
