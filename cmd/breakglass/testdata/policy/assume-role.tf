# What breakglass needs in AWS, made by `breakglass policy --terraform`.
# The resources are of more than one account; configure a provider for each:
#   provider "aws" { alias = "account_777788889999" … }   # account 777788889999
#   provider "aws" { … }   # the account that the bot itself runs in

variable "breakglass_principal" {
  type        = string
  description = "The ARN of the role or user that breakglass itself runs as."
}

# For the role that the bot assumes in account 777788889999, for helios-far.
resource "aws_iam_role" "breakglass_bot_777788889999" {
  provider    = aws.account_777788889999
  name        = "breakglass-bot"
  path        = "/ops/"
  description = "breakglass works in this account with it"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "OnlyTheBot"
        Effect = "Allow"
        Principal = {
          AWS = var.breakglass_principal
        }
        Action = [
          "sts:AssumeRole",
        ]
        Condition = {
          StringEquals = {
            "sts:ExternalId" = [
              "ours-7",
            ]
          }
          StringLike = {
            "sts:RoleSessionName" = [
              "breakglass-*",
            ]
          }
        }
      },
    ]
  })
}

resource "aws_iam_role_policy" "breakglass_bot_777788889999" {
  provider = aws.account_777788889999
  name     = "breakglass"
  role     = aws_iam_role.breakglass_bot_777788889999.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "OpenAndClose"
        Effect = "Allow"
        Action = [
          "iam:GetRole",
          "iam:GetRolePolicy",
          "iam:PutRolePolicy",
          "iam:UpdateAssumeRolePolicy",
        ]
        Resource = [
          "arn:aws:iam::777788889999:role/support",
          "arn:aws:iam::777788889999:role/*/support",
        ]
      },
      {
        Sid    = "AskWhatRolesMayDo"
        Effect = "Allow"
        Action = [
          "iam:SimulatePrincipalPolicy",
        ]
        Resource = [
          "arn:aws:iam::777788889999:role/*",
        ]
      },
      {
        Sid    = "ReadTheInstancesProfile"
        Effect = "Allow"
        Action = [
          "iam:GetInstanceProfile",
        ]
        Resource = [
          "arn:aws:iam::777788889999:instance-profile/*",
        ]
      },
      {
        Sid    = "ReadTheAccountsQuotas"
        Effect = "Allow"
        Action = [
          "iam:GetAccountSummary",
        ]
        Resource = [
          "*",
        ]
      },
      {
        Sid    = "SessionLogging"
        Effect = "Allow"
        Action = [
          "ssm:CreateDocument",
          "ssm:DescribeDocument",
          "ssm:GetDocument",
          "ssm:UpdateDocument",
          "ssm:UpdateDocumentDefaultVersion",
        ]
        Resource = [
          "arn:aws:ssm:eu-west-1:777788889999:document/SSM-SessionManagerRunShell",
        ]
      },
      {
        Sid    = "EndSessions"
        Effect = "Allow"
        Action = [
          "ssm:TerminateSession",
        ]
        Resource = [
          "arn:aws:ssm:eu-west-1:777788889999:session/*",
        ]
      },
      {
        Sid    = "FindTheLogGroup"
        Effect = "Allow"
        Action = [
          "logs:DescribeLogGroups",
        ]
        Resource = [
          "arn:aws:logs:eu-west-1:777788889999:log-group:*",
        ]
      },
      {
        Sid    = "LookForLogs"
        Effect = "Allow"
        Action = [
          "logs:DescribeLogStreams",
        ]
        Resource = [
          "arn:aws:logs:eu-west-1:777788889999:log-group:/aws/ssm/helios-far/cluster:*",
        ]
      },
      {
        Sid    = "LookAround"
        Effect = "Allow"
        Action = [
          "ec2:DescribeInstances",
          "ssm:DescribeInstanceInformation",
          "ssm:DescribeSessions",
        ]
        Resource = [
          "*",
        ]
        Condition = {
          StringEquals = {
            "aws:RequestedRegion" = [
              "eu-west-1",
            ]
          }
        }
      },
      {
        Sid    = "SeeWhoAssumedIt"
        Effect = "Allow"
        Action = [
          "cloudtrail:LookupEvents",
        ]
        Resource = [
          "*",
        ]
        Condition = {
          StringEquals = {
            "aws:RequestedRegion" = [
              "eu-west-1",
              "us-east-1",
            ]
          }
        }
      },
      {
        Sid    = "NeverComeInNorWidenTheRole"
        Effect = "Deny"
        Action = [
          "iam:Attach*",
          "iam:Delete*",
          "iam:Detach*",
          "iam:PassRole",
          "iam:PutRolePermissionsBoundary",
          "iam:TagRole",
          "iam:UntagRole",
          "iam:UpdateRole",
          "iam:UpdateRoleDescription",
          "sts:AssumeRole",
        ]
        Resource = [
          "arn:aws:iam::777788889999:role/support",
          "arn:aws:iam::777788889999:role/*/support",
        ]
      },
      {
        Sid    = "NeverOpenAShell"
        Effect = "Deny"
        Action = [
          "ssm:ResumeSession",
          "ssm:SendCommand",
          "ssm:StartAutomationExecution",
          "ssm:StartSession",
        ]
        Resource = [
          "*",
        ]
      },
      {
        Sid    = "NeverChangeItself"
        Effect = "Deny"
        Action = [
          "iam:Add*",
          "iam:Attach*",
          "iam:Create*",
          "iam:Delete*",
          "iam:Detach*",
          "iam:PassRole",
          "iam:Put*",
          "iam:Tag*",
          "iam:Untag*",
          "iam:Update*",
        ]
        Resource = [
          "arn:aws:iam::777788889999:role/ops/breakglass-bot",
        ]
      },
    ]
  })
}

# For what the bot itself runs as.
# Attach it to that role or user; --principal ARN writes that, too.
resource "aws_iam_policy" "breakglass" {
  name        = "breakglass"
  description = "What breakglass itself may do"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "TakeOnTheCellsRoles"
        Effect = "Allow"
        Action = [
          "sts:AssumeRole",
        ]
        Resource = [
          "arn:aws:iam::777788889999:role/ops/breakglass-bot",
        ]
      },
    ]
  })
}
