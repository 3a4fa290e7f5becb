"""All condition reasons: CamelCase causes, named once."""

from __future__ import annotations

# Waiting for others.
WAITING_FOR_DATASET = "WaitingForDataset"
WAITING_FOR_PLANS = "WaitingForPlans"
WAITING_FOR_TRAINING_RUN = "WaitingForTrainingRun"
WAITING_FOR_PLUGIN = "WaitingForPlugin"  # a ConfigMap of spec.plugins
WAITING_FOR_PREDECESSOR = "WaitingForPredecessor"  # pods of an earlier object of this name
DEPENDENCY_FAILED = "DependencyFailed"

# A Dataset's life.
VERIFYING = "Verifying"
VERIFIED = "Verified"
FINGERPRINTING = "Fingerprinting"
FINGERPRINTED = "Fingerprinted"

# A Plans' and a PlanTransfer's life.
PLANNING = "Planning"
PLANNED = "Planned"
TRANSFERRING = "Transferring"
PREPROCESSING = "Preprocessing"
PREPROCESSED = "Preprocessed"
COMPATIBLE = "Compatible"
MISMATCH = "Mismatch"
PLANS_NAME_TAKEN = "PlansNameTaken"

# A TrainingRun's life.
STARTING = "Starting"
TRAINING = "Training"
VALIDATING = "Validating"
TRAINING_WARNING = "TrainingWarning"
WARNING_OVER = "WarningOver"
TRAINED = "Trained"
COMPLETED = "Completed"
SUSPENDING = "Suspending"
SUSPENDED = "Suspended"
QUEUED = "Queued"
WAITING_FOR_ROOM = "WaitingForRoom"  # maxParallelFolds
DELETING_RESULTS = "DeletingResults"
RESULTS_IN_USE = "ResultsInUse"

# What keeps a pod from starting.
UNSCHEDULABLE = "Unschedulable"
IMAGE_PULL_FAILED = "ImagePullFailed"
CONTAINER_CONFIG_ERROR = "ContainerConfigError"
PRE_RUNNING_DEADLINE_EXCEEDED = "PreRunningDeadlineExceeded"

# What ends an attempt.
INVALID_CASES = "InvalidCases"
INVALID_DATASET_JSON = "InvalidDatasetJson"
INVALID_FILE = "InvalidFile"
INVALID_SPLITS = "InvalidSplits"
MISSING_FILE = "MissingFile"
TOO_FEW_CASES = "TooFewCases"
DATASET_CHANGED = "DatasetChanged"
OUT_OF_GPU_MEMORY = "OutOfGPUMemory"
OUT_OF_MEMORY = "OutOfMemory"
OUT_OF_DISK = "OutOfDisk"
DISRUPTED = "Disrupted"
TOO_MANY_DISRUPTIONS = "TooManyDisruptions"
DEADLINE_EXCEEDED = "DeadlineExceeded"
STOPPED = "Stopped"
FAILED = "Failed"
BAD_USAGE = "BadUsage"
BAD_DATA = "BadData"
BAD_CONFIGURATION = "BadConfiguration"
STORAGE_UNAVAILABLE = "StorageUnavailable"
TRY_AGAIN = "TryAgain"
REPORT_MISSING = "ReportMissing"
FOLDS_FAILED = "FoldsFailed"

# What a spec asks for and cannot have.
NO_STORAGE = "NoStorage"
LOCAL_FILE = "LocalFile"  # a file:// URI on a cluster
INVALID_SPEC = "InvalidSpec"
UNKNOWN_FIELD = "UnknownField"
UNKNOWN_CONFIGURATION = "UnknownConfiguration"
CONFIGURATION_NOT_PREPROCESSED = "ConfigurationNotPreprocessed"
UNKNOWN_FOLD = "UnknownFold"
NO_PREVIOUS_STAGE = "NoPreviousStage"
PREVIOUS_STAGE_MISMATCH = "PreviousStageMismatch"
CONTINUATION_MISMATCH = "ContinuationMismatch"
REFERENCE_CYCLE = "ReferenceCycle"
REFERENCE_CHANGED = "ReferenceChanged"
CHILD_REFUSED = "ChildRefused"
NETWORKS_DIFFER = "NetworksDiffer"
BATCH_SMALLER_THAN_WORLD = "BatchSmallerThanWorld"
NETWORK_DOES_NOT_FIT = "NetworkDoesNotFit"
MISSING_PLUGIN = "MissingPlugin"
PLUGIN_CHANGED = "PluginChanged"
# … and those of the trainer's catalogue (contract.catalogue.REASONS).

# Events.
RESUMED = "Resumed"
RERUN = "Rerun"
FOLDS_ADDED = "FoldsAdded"
CONTINUED = "Continued"
RESULTS_DELETED = "ResultsDeleted"
RESULTS_KEPT = "ResultsKept"
DATASET_WARNING = "DatasetWarning"
DATASET_UNCHANGED = "DatasetUnchanged"
PLANS_CHANGED = "PlansChanged"
DELETED = "Deleted"
