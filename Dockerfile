# rnnseg in a container. For the CPU, and for NVIDIA's GPUs:
#
#     docker build --tag rnnseg .
#     docker build --tag rnnseg:gpu --build-arg EXTRAS=data,video,gpu \
#         --build-arg BASE_IMAGE=nvidia/cuda:12.6.3-base-ubuntu24.04 .
#
# docs/quick_start.md says how to run it. Any image of Debian or Ubuntu with Python 3.10-3.13, or
# whose packages have one, may be the base. That for GPUs is the smallest of CUDA's: it makes the
# container runtime add the driver, and refuses drivers that are too old. It needs no CUDA and cuDNN
# of its own, some gigabytes, since TensorFlow loads those of its wheels, which the extra `gpu`
# installs: they are of the versions that it was built with.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS base
RUN python3 -c 'import ensurepip' 2> /dev/null \
    || { apt-get update \
        && apt-get install --yes --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; }

# What an installation leaves behind besides its environment stays in this stage.
FROM base AS builder
ARG EXTRAS=data,video
WORKDIR /source
COPY constraints.txt LICENSE pyproject.toml README.md setup.cfg setup.py ./
COPY rnnseg rnnseg
COPY data_prep data_prep
COPY experiments experiments
COPY web web
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/rnnseg \
    && /opt/rnnseg/bin/pip install --use-pep517 --constraint constraints.txt ".[${EXTRAS}]"

FROM base
COPY --from=builder /opt/rnnseg /opt/rnnseg
# Both folders are open to all users, so that `docker run --user` can give results their owner.
# Downloaded weights go to the home.
RUN useradd --no-create-home --home-dir /home/rnnseg rnnseg \
    && mkdir --mode 1777 /home/rnnseg /data
ENV HOME=/home/rnnseg PATH=/opt/rnnseg/bin:$PATH
USER rnnseg
WORKDIR /data
VOLUME /data
ENTRYPOINT ["rnnseg"]
CMD ["--help"]
