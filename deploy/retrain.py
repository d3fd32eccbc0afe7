"""`python -m deploy.retrain`: order one training and follow it to its end, as at night."""

import argparse
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from deploy.errors import DeployError
from deploy.services import train
from deploy.settings import RetrainSettings
from shared.exposure import make_authorization
from shared.settings import describe_invalid_settings


def main(words: Sequence[str] = ()) -> int:
    """Train.

    Returns:
        0 if a version was published, whether it serves or not; 1 if none was; 2 if a setting is
        wrong.
    """
    argparse.ArgumentParser(
        prog="python -m deploy.retrain",
        description=f"{__doc__.partition(': ')[2]} {RetrainSettings.__doc__}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(words)
    shown: list[str] = []

    def show(progress: str) -> None:
        if shown[-1:] != [progress]:  # a job's log keeps each stage once
            shown.append(progress)
            print(progress, flush=True)

    try:
        settings = RetrainSettings()
        trained = train(
            settings.trainer_url,
            timeout_s=settings.timeout_s,
            show=show,
            order=settings.order,
            headers=make_authorization(settings.api_token),
        )
    except ValidationError as error:
        print(describe_invalid_settings(error), file=sys.stderr)
        return 2
    except DeployError as error:
        print(error, file=sys.stderr)
        return 1
    verdict = "serves" if trained.is_promoted else "does not serve"
    print(f"model version {trained.version}, {verdict}: {trained.reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
