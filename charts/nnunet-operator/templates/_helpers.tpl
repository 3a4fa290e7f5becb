{{- define "nnunet-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "nnunet-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "nnunet-operator.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "nnunet-operator.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "nnunet-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "nnunet-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "nnunet-operator.labels" -}}
{{- include "nnunet-operator.labelsAnd" (dict "root" .) }}
{{- end }}

{{/* All labels of (dict "root" … "own" …): the chart's win over an object's own, and those over the common ones. */}}
{{- define "nnunet-operator.labelsAnd" -}}
{{- $chart := include "nnunet-operator.chartLabels" .root | fromYaml }}
{{- merge $chart (.own | default dict) (.root.Values.commonLabels | default dict) | toYaml }}
{{- end }}

{{- define "nnunet-operator.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: nnunet-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "nnunet-operator.selectorLabels" . }}
{{- end }}

{{/* The line `annotations:` and what follows it, of (dict "root" … "own" …); nothing where there are none. */}}
{{- define "nnunet-operator.annotations" -}}
{{- with merge (dict) (.own | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels that the operator gives to each pod that it starts, and that nobody can take away (manifests/names.py). */}}
{{- define "nnunet-operator.trainerSelector" -}}
matchLabels:
  app.kubernetes.io/managed-by: nnunet-operator
matchExpressions:
  - key: nnunet.dev/owner-uid
    operator: Exists
{{- end }}

{{- define "nnunet-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "nnunet-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* An image of (dict "image" … "root" …): by digest when there is one, else by tag, else by the chart's own version. */}}
{{- define "nnunet-operator.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end }}
{{- end }}

{{/* What the operator asks of the API server in each namespace that it works in. A test keeps it equal to the operator's own list. */}}
{{- define "nnunet-operator.rules" -}}
- apiGroups: [nnunet.dev]
  resources: [datasets, plans, plantransfers, trainingruns]
  verbs: [get, list, watch]
- apiGroups: [nnunet.dev]
  resources: [plans] # a PlanTransfer makes one
  verbs: [create, patch]
- apiGroups: [nnunet.dev]
  resources: [trainingruns] # ttlSecondsAfterFinished
  verbs: [delete]
- apiGroups: [nnunet.dev]
  resources: [trainingruns] # their finalizers (retention: Delete)
  verbs: [patch]
- apiGroups: [""]
  resources: [namespaces] # one that is being deleted takes no Job: the finalizers go
  verbs: [get]
- apiGroups: [nnunet.dev]
  resources: [datasets/status, plans/status, plantransfers/status, trainingruns/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [configmaps] # work orders; plug-ins are read (a patch answers with the whole object, too)
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [services] # where the workers of a run find each other
  verbs: [create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.gangScheduling }}
- apiGroups: [scheduling.k8s.io]
  resources: [podgroups]
  verbs: [create, patch, delete]
{{- end }}
{{- if (.Values.kueue).workloads }}
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads] # what a queued Job waits for
  verbs: [list]
{{- end }}
{{- end }}
