"""/dev/shm has the size that was asked for."""

from ..cluster import Cluster, training

MIB = 96
MEASURE = "import os; s = os.statvfs('/dev/shm'); print(s.f_blocks * s.f_frsize)"


def run(cluster: Cluster) -> str:
    name = "shm"
    cluster.apply(training(name, epochs=500, template={"sharedMemory": {"size": f"{MIB}Mi"}, "terminationGracePeriodSeconds": 20}))
    pod = cluster.wait_running(name)["metadata"]["name"]
    size = int(cluster.kubectl("exec", pod, "--", "python", "-c", MEASURE))
    cluster.delete("TrainingRun", name)
    assert size == MIB << 20, size
    return f"{size >> 20} MiB"
