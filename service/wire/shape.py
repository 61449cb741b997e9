"""What all shapes have in common."""

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """A shape that travels over HTTP. Its serialiser is made when it is first needed: at the start that took 0.2 s."""

    model_config = ConfigDict(defer_build=True)


class BodyShape(Shape):
    """The shape of a request's body.

    Its validator is there from the start. FastAPI wraps it in one for the parameter, of which pydantic warns that it
    has an alias; FastAPI silences that where it makes the wrapping, but not where pydantic does so later.
    """

    model_config = ConfigDict(defer_build=False)
